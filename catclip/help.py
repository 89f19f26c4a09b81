"""`catclip VERB --help`: what the verb does, its examples, the groups to choose from, and every key in a line."""

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeGuard

from omegaconf import DictConfig, OmegaConf

from catclip import config as schemas

WIDTH = 80


def verb_help(verb: str, line: str, schema: type, conf: Path) -> str:
    """Return the help of a verb.

    Args:
        verb: `data pack`.
        line: what it does, in a line.
        schema: its dataclass of `catclip.config`, whose trailing comments say what the keys are.
        conf: the folder of the configuration's files, one of them the verb's, which begins with examples.
    """
    file = conf / f"{verb.replace(' ', '_')}.yaml"
    examples = _examples(file.read_text(encoding="utf-8"))
    parts = [_folded(f"catclip {verb}: {line}", ""), "\n".join(map(_example, examples))]
    if groups := list(_groups(file, conf)):
        parts.append("\n".join(["Groups, GROUP=NAME; * unless you choose:", *groups]))
    if keys := list(_keys(schema)):
        parts.append("\n".join(["Keys, KEY=VALUE; -m KEY=1,2 sweeps:", *keys]))
        parts.append(f"`catclip {verb} --cfg job` prints them with their values.")
    return "\n\n".join(parts)


def _examples(text: str) -> list[str]:
    """The paragraphs of a file's leading comment. A line that is indented within it goes on with the one above."""
    found: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("#  ") and found:
            found[-1] += f" {line[1:].strip()}"
        else:
            found.append(line[1:].strip())
    return found


def _example(text: str) -> str:
    return _folded(text, "  ", "      " if text.startswith("catclip") else "  ")


def _groups(file: Path, conf: Path) -> Iterator[str]:
    for entry in OmegaConf.load(file).defaults:
        for key, chosen in entry.items() if isinstance(entry, DictConfig) else ():
            group = str(key).split("@", maxsplit=1)[0]
            if (conf / group).is_dir():
                names = sorted(each.stem for each in (conf / group).glob("*.yaml"))
                shown = ", ".join(f"{name}*" if name == chosen else name for name in names)
                yield _row(str(key), shown)


def _keys(schema: type, prefix: str = "") -> Iterator[str]:
    comments = _comments(schema)
    for field in fields(schema):
        # A field of several types, as a folder or keys of its own, has the dataclass of these keys as its default.
        below = next((each for each in (field.type, field.default_factory) if _is_schema(each)), None)
        if below is None or field.name in comments:
            yield _row(f"{prefix}{field.name}", comments.get(field.name, ""))
        if below is not None:
            yield from _keys(below, f"{prefix}{field.name}.")


def _is_schema(kind: object) -> TypeGuard[type]:
    return isinstance(kind, type) and is_dataclass(kind)


def _row(name: str, text: str) -> str:
    """`name   text`, the text folded beside its column, or below a long name."""
    column = 24
    if not text:
        return f"  {name}"
    if len(name) + 3 > column:
        return f"  {name}\n{_folded(text, ' ' * column)}"
    return _folded(text, " " * column).replace(" " * column, f"  {name}".ljust(column), 1)


def _folded(text: str, indent: str, hanging: str | None = None) -> str:
    below = indent if hanging is None else hanging
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=below, break_on_hyphens=False)


def _comments(schema: type) -> dict[str, str]:
    """What stands behind a dataclass's fields, own and inherited, as comments."""
    found: dict[str, str] = {}
    for kind in reversed(schema.__mro__):
        if kind.__module__ == schemas.__name__:
            found |= _comments_of(kind)
    return found


def _comments_of(kind: type[Any]) -> dict[str, str]:
    source = inspect.getsource(kind)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {each.start[0]: each.string.lstrip("# ") for each in tokens if each.type == tokenize.COMMENT}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        statement.target.id: comments[statement.lineno]
        for statement in body.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.lineno in comments
    }
