"""Rooms import only what docs/architecture.md lets them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "catclip"
BESIDE = {"config", "environment", "errors", "files", "gather", "help", "paths"}
MAY_IMPORT = {
    "captions": set(),
    "data": {"captions"},
    "models": set(),
    "objectives": {"data", "models", "captions"},
    "train": {"objectives", "data", "models", "captions"},
    "evaluate": {"objectives", "data", "models", "captions"},
    "transfer": {"train", "objectives", "data", "models", "captions"},
    "export": {"train", "objectives", "data", "models", "captions"},
    "compare": {"train", "evaluate", "transfer", "objectives", "data", "models", "captions"},
    "verbs": {"compare", "export", "train", "evaluate", "transfer", "objectives", "data", "models", "captions"},
}


def imported_modules(file: Path) -> set[str]:
    """Every module that a file imports anywhere, by its dotted name."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


def files_of(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def test_every_room_is_listed():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_only_what_it_may(room: str):
    for file in files_of(room):
        for module in imported_modules(file):
            if module.startswith("catclip."):
                other = module.split(".")[1]
                allowed = other in MAY_IMPORT[room] | BESIDE | {room, "__version__"}
                assert allowed, f"{file.relative_to(ROOT)} imports {module}"


def test_the_page_has_the_same_table():
    section = (ROOT / "docs" / "architecture.md").read_text().split("## What may import what")[1].split("\n## ")[0]
    rows = [row.split("|")[1:3] for row in section.splitlines() if row.startswith("| `")]
    said = {re.findall(r"\w+", room)[0]: set(re.findall(r"`(\w+)`", allowed)) for room, allowed in rows}
    assert said.pop("verbs") == {"cli"}
    assert MAY_IMPORT["verbs"] == MAY_IMPORT.keys() - {"verbs"}
    assert said == {room: allowed for room, allowed in MAY_IMPORT.items() if room != "verbs"}


def test_files_beside_the_rooms_are_on_the_page_and_import_no_room():
    assert {file.stem for file in PACKAGE.glob("*.py")} == BESIDE | {"__init__", "__main__", "cli"}
    page = (ROOT / "docs" / "architecture.md").read_text()
    for name in BESIDE:
        assert f"`{name}.py` (" in page
        for module in imported_modules(PACKAGE / f"{name}.py"):
            assert not module.startswith("catclip.") or module.split(".")[1] in BESIDE | {"__version__"}, module


def test_only_the_command_line_imports_hydra():
    for file in PACKAGE.rglob("*.py"):
        if file != PACKAGE / "cli.py":
            assert not any(module.split(".")[0] == "hydra" for module in imported_modules(file)), file


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("catclip.captions", {"torch", "spacy", "nltk.corpus"}), ("catclip.cli", {"torch", "hydra", "timm", "rich"})],
)
def test_importing_loads_nothing_heavy(module: str, heavy: set[str]):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)


def test_the_map_names_what_exists():
    """Every name in the table of the rooms is in the code."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    source = "\n".join(file.read_text() for file in PACKAGE.rglob("*.py"))
    entries = [row.split("|")[3] for row in text.splitlines() if row.startswith("| `catclip/") and row.count("|") == 4]
    names = [name.split(".")[-1].split("(")[0] for entry in entries for name in entry.split("`")[1::2]]
    assert len(names) > 25
    for name in names:
        assert f"def {name}" in source or f"class {name}" in source or name == "paths", name


def test_the_road_names_what_exists():
    """Every function, class and file on the road of a batch, and what its batches and configuration hold."""
    road = (ROOT / "docs" / "architecture.md").read_text().split("## The road of one batch")[1].split("\n## ")[0]
    source = "\n".join(file.read_text() for file in PACKAGE.rglob("*.py"))
    names = re.findall(r"`([A-Za-z_][\w.]*)(?:\(\w*\))?`", road)
    assert len(names) > 25
    for name in names:
        last = name.split(".")[-1]
        # Defined here, a field or key of what is, or another's that is imported.
        assert re.search(rf"(def|class|import) {last}\b|\b{last}: |\"{last}\"", source), name
    for file in re.findall(r"`([\w/]+\.py)`", road):
        assert (PACKAGE / file).is_file(), file
