"""`catclip map`: which rows of a vocabulary stand for the classes of a task; a report to read, edit and feed back."""

from pathlib import Path

from rich.console import Console

from catclip.captions import Vocabulary
from catclip.config import MapConfig
from catclip.errors import UserError
from catclip.train.folder import read_config
from catclip.transfer.class_list import read_class_list
from catclip.transfer.mapping import map_classes

_SHOWN = 40  # lines of the table


def run(config: MapConfig) -> None:
    """Write the report and print its least sure lines."""
    console, out = Console(highlight=False), Path(config.out)
    if (config.vocabulary is None) == (config.model is None):
        raise UserError("Give the labels as vocabulary=FILE, or a run that has them as model=RUN_FOLDER.")
    if out.suffix != ".tsv":
        raise UserError(f"out={out}: give a file name that ends in .tsv.")
    if out.exists():
        raise UserError(f"{out} is there already, and may have been edited. Give another out=…, or move it.")
    file = Path(config.vocabulary or _of_run(Path(str(config.model))))
    vocabulary = Vocabulary.load(file)
    mapping = map_classes(read_class_list(config.classes), vocabulary, config.strategy)
    mapping.save(out, vocabulary=file, classes=config.classes, strategy=config.strategy)
    console.print(mapping.table(_SHOWN))
    if len(mapping) > _SHOWN:
        console.print(f"… and {len(mapping) - _SHOWN:,} that are as sure or surer")
    console.print(f"\n{mapping.summary()}", markup=False)
    console.print(
        f"Every class, to be edited under `rows` and given to zeroshot as map={out}, to finetune as init={out}",
        markup=False,
    )


def _of_run(model: Path) -> Path:
    file, name = model / "vocabulary.tsv", read_config(model)["objective"]["_target_"].rpartition(".")[2]
    if not file.is_file():
        raise UserError(f"model={model} ({name}) has no vocabulary.tsv, the labels it learned: give vocabulary=FILE.")
    return file
