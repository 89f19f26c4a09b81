"""The JSON file of a measurement: the same one again replaces it, another does not."""

import json
import os
from pathlib import Path
from typing import Any

from catclip.errors import UserError
from catclip.files import write_atomically, writing


def check_replaces(out: Path, settings: dict[str, Any]) -> None:
    """Raise `UserError` where `out` cannot be written, or has another measurement than one with the same settings.

    Args:
        out: the file to be written; there need not be one.
        settings: what was asked for, in flat keys, as JSON has it.
    """
    folder = next(each for each in (out.absolute(), *out.absolute().parents) if each.is_dir())
    if not os.access(folder, os.W_OK):
        raise UserError(f"{out} cannot be written: {folder} is not yours to write in. Give another out=…")
    if not out.exists():
        return
    try:
        before = dict(json.loads(out.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{out} is there already, and is no measurement of this kind. Give another out=…") from error
    keys = settings.keys() | {key for key in before if key.partition(".")[0] == "data"}
    if differing := [
        f"{key} was {before.get(key)!r}, is now {settings.get(key)!r}"
        for key in sorted(keys)
        if before.get(key) != settings.get(key)
    ]:
        raise UserError(f"{out} has another measurement: {'; '.join(differing)}. Give another out=…")


def write_measured(out: Path, results: dict[str, Any]) -> None:
    """Write flat results; the folder is made if it does not exist."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, json.dumps(results, indent=1))
