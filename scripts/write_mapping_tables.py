"""Map four tasks' classes onto vocabularies of real captions: write_mapping_tables.py TRANSFER.md CAPTIONS CLASSES

CAPTIONS is a folder of .txt files, a caption a line. CLASSES has places365.txt, coco80.txt and ade20k150.txt, a class a
line; ImageNet-1k's come with timm. The tables go into TRANSFER.md, the figures to benchmarks/results/mapping.json.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.counting.counter import count_files, whole_vocabulary
from catclip.environment import environment
from catclip.transfer.class_list import IMAGENET, read_class_list
from catclip.transfer.mapping import map_classes

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "mapping.json"
TASKS = {"ImageNet-1k": IMAGENET, "Places365": "places365.txt", "COCO": "coco80.txt", "ADE20k": "ade20k150.txt"}
FOUND = re.compile(r"Against [\d,]+ labels of .*?(?=\n\n## |\nMapping a thousand)", re.DOTALL)


def figures(captions: Path, classes: Path) -> dict[str, Any]:
    """`captions`; of each vocabulary `<name>.labels`, and of each task `<name>.<task>.<how>`, the share of its classes.

    Of those found as the nearest label also `.similarity`, their mean.
    """
    extractor, sources = SynsetExtractor(), str(captions / "*.txt")
    corpus = count_files(sources, extractor)
    whole = whole_vocabulary(corpus, extractor, sources)
    vocabularies = {
        "tau=5": whole.prune(5), "tau=1": whole.prune(1), "tau=5,prune=rollup": whole.prune(5, how="rollup"),
    }  # fmt: skip
    results: dict[str, Any] = {"captions": corpus.captions}
    for name, vocabulary in vocabularies.items():
        results[f"{name}.labels"] = len(vocabulary)
        for task, source in TASKS.items():
            found = read_class_list(source if source == IMAGENET else classes / source)
            results[f"{task}.classes"] = len(found)
            results |= {f"{name}.{task}.{key}": value for key, value in shares(found, vocabulary).items()}
    return results


def shares(classes: list[str], vocabulary: Vocabulary) -> dict[str, float]:
    mapping = map_classes(classes, vocabulary)
    near = mapping.similarity("nearest")
    return mapping.shares() | ({} if near is None else {"similarity": near})


def text(results: dict[str, Any]) -> str:
    """What docs/transfer.md says of them."""

    def share(vocabulary: str, task: str, how: str) -> str:
        value = results.get(f"{vocabulary}.{task}.{how}", 0)
        return f"{value:.1%}".replace("%", " %") if value else "0"

    rows = []
    for task in TASKS:
        exact, near, none = (share("tau=5", task, how) for how in ("exact", "nearest", "none"))
        similarity = f"{results[f'tau=5.{task}.similarity']:.2f}".lstrip("0")
        cells = [task, f"{results[f'{task}.classes']:,}", exact, f"{near} ({similarity})", none]
        cells.append(share("tau=1", task, "exact"))
        rows.append(f"| {' | '.join(cells)} |")
    imagenet, places = (share("tau=5,prune=rollup", task, "rollup") for task in ("ImageNet-1k", "Places365"))
    return "\n".join([
        f"Against {results['tau=5.labels']:,} labels of {results['captions']:,} captions (Flickr30k's and CC3M's "
        "validation captions) at `tau=5`,",
        f"and their {results['tau=1.labels']:,} at `tau=1` (`scripts/write_mapping_tables.py`):",
        "",
        "| | classes | exact | nearest (similarity) | none | exact at tau=1 |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"With `prune=rollup` at `tau=5`, {imagenet} of ImageNet's classes and {places} of Places365's are `rollup`.",
    ])  # fmt: skip


def main() -> None:
    page, captions, classes = (Path(argument) for argument in sys.argv[1:4])
    results = figures(captions, classes) | {"commit": environment()["commit"]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    renewed, found = FOUND.subn(lambda _: text(results), page.read_text())
    assert found == 1, f"{page} has no tables of mappings"
    page.write_text(renewed)


if __name__ == "__main__":
    main()
