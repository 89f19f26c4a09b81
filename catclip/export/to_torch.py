"""`format=torch`: torch.export's programs, which run without catclip, timm and open_clip."""

from pathlib import Path

import torch

from catclip.export.card import Section, code
from catclip.export.graphs import describe, graphs
from catclip.export.release import Release, write_labels


def write_programs(release: Release, folder: Path, out: Path) -> list[Section]:
    """Write `pictures.pt2`, and `texts.pt2` where the run has a text tower, for batches of any size.

    Args:
        release: what to write.
        folder: where to.
        out: what the folder will be called in the end.

    Returns:
        How they are used, for the card.
    """
    lines = ["import torch"]
    for graph in graphs(release):
        torch.export.save(graph.program(), folder / f"{graph.name}.pt2")
        lines.append(f"{graph.name} = torch.export.load({str(out / f'{graph.name}.pt2')!r}).module()")
        lines.append(f"{', '.join(graph.gives)}{',' * (len(graph.gives) == 1)} = {graph.name}({graph.takes})")
    write_labels(release, folder)
    return [Section("Use", code(lines)), describe(release)]
