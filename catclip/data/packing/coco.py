"""Pictures and captions out of COCO's captions_*.json."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catclip.captions.sources.jsonl import captions_in
from catclip.data.packing.entries import Entry
from catclip.errors import UserError


def coco_entries(path: Path) -> Iterator[Entry]:
    """Yield what a file of COCO captions says of each of its images, in their order.

    Raises:
        UserError: it is something else, or cannot be read.
    """
    images, annotations = _load(path)
    captions: dict[Any, list[str]] = {}
    for annotation in annotations:
        captions.setdefault(annotation.get("image_id"), []).extend(captions_in(annotation.get("caption")))
    for image in images:
        name = str(image.get("file_name") or "").strip()
        of_image = captions.pop(image.get("id"), [])
        yield Entry(name, of_image) if name else Entry(f"{path}, image {image.get('id')}", [], "no picture is named")
    for identifier, rest in captions.items():
        yield Entry(f"{path}, image {identifier}", rest, "no such image in the file")


def _load(path: Path) -> tuple[list[dict], list[dict]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no valid JSON: {error}. JSON lines go by the ending .jsonl.") from error
    fields = content if isinstance(content, dict) else {}
    images, annotations = _objects(fields.get("images")), _objects(fields.get("annotations"))
    if images is None or annotations is None:
        raise UserError(
            f"{path} has not the lists `images` and `annotations` of COCO's captions. Other layouts are read from "
            "tables: .csv, .tsv, .jsonl or .parquet with a row for each caption."
        )
    if annotations and not any("caption" in annotation for annotation in annotations):
        raise UserError(f"The annotations in {path} have no captions: give the file captions_*.json of the same data.")
    return images, annotations


def _objects(value: Any) -> list[dict] | None:
    return value if isinstance(value, list) and all(isinstance(each, dict) for each in value) else None
