"""`catclip VERB --help`: what the verb does, its examples, the groups to choose from, and every key in a line."""

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

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
    examples = [each.removeprefix("#").strip() for each in _leading_comment(file.read_text(encoding="utf-8"))]
    parts = [_folded(f"catclip {verb}: {line}", ""), "\n".join(_folded(each, "  ") for each in examples)]
    if groups := list(_groups(file, conf)):
        parts.append("\n".join(["Groups, GROUP=NAME; * unless you choose:", *groups]))
    parts.append("\n".join(["Keys, KEY=VALUE; -m KEY=1,2 sweeps:", *_keys(schema)]))
    parts.append(f"`catclip {verb} --cfg job` prints them with their values.")
    return "\n\n".join(parts)


def _leading_comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line


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
        if is_dataclass(field.type) and isinstance(field.type, type):
            yield from _keys(field.type, f"{prefix}{field.name}.")
        else:
            yield _row(f"{prefix}{field.name}", comments.get(field.name, ""))


def _row(name: str, text: str) -> str:
    """`name   text`, the text folded beside its column, or below a long name."""
    column = 24
    if not text:
        return f"  {name}"
    if len(name) + 3 > column:
        return f"  {name}\n{_folded(text, ' ' * column)}"
    return _folded(text, " " * column).replace(" " * column, f"  {name}".ljust(column), 1)


def _folded(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


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
