"""`catclip export`: a run's weights, labels and card in the formats of others."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from catclip.config import ExportConfig
from catclip.errors import UserError, check_choice
from catclip.export import to_onnx, to_open_clip, to_timm, to_torch
from catclip.export.card import card
from catclip.export.release import open_release
from catclip.files import path_aside, sync_folder, writing

FORMATS = {
    "timm": to_timm.write_checkpoint,
    "timm-hub": to_timm.write_folder,
    "open_clip": to_open_clip.write_folder,
    "onnx": to_onnx.write_graphs,
    "torch": to_torch.write_programs,
}


def run(config: ExportConfig) -> None:
    """Write the folder and print what is in it, and how it is used."""
    console = Console(highlight=False)
    check_choice("format", config.format, FORMATS)
    write = FORMATS[config.format]
    if config.format == "onnx":
        to_onnx.check_opset(config.opset)
        write = partial(to_onnx.write_graphs, opset=config.opset)
    path = Path(config.model)
    out = Path(config.out or path / "export" / config.format)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out} is there already: give a folder that is not, or an empty one.")
    with console.status(f"exporting {path}"):
        release = open_release(path, config.weights)
        with writing(out), _made_aside(out) as folder:
            sections = write(release, folder, out)
            (folder / "README.md").write_text(card(release, config.format, sections), encoding="utf-8")
            files = sorted(each.name for each in folder.iterdir())
    console.print(f"{out}: {', '.join(files)}", markup=False, soft_wrap=True)
    usage = "\n".join(line for line in sections[0].text.splitlines() if not line.startswith("```"))
    console.print(usage, markup=False, soft_wrap=True)


@contextmanager
def _made_aside(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` when all is in it, or is removed after an error."""
    out = out.resolve()
    aside = path_aside(out)
    if aside.exists():  # a killed process leaves it
        shutil.rmtree(aside)
    aside.mkdir(parents=True)
    try:
        yield aside
        for file in aside.rglob("*"):
            if file.is_file():
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
        os.rename(aside, out)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync_folder(out.parent)
