"""The wheel holds what the program needs, and works outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, as an installer would leave it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_outside(installed: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from catclip.cli import main; sys.exit(main())"
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "COLUMNS": "80"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)


def test_wheel_holds_configuration_tables_and_licences(installed: Path):
    for folder in ("conf", "vocab"):
        shipped = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert shipped
        assert shipped == {
            path.relative_to(installed / "catclip" / folder)
            for path in (installed / "catclip" / folder).rglob("*")
            if path.is_file()
        }
    licences = {path.name for path in installed.glob("catclip-*.dist-info/licenses/*")}
    assert {"LICENSE", "NOTICE"} <= licences


def test_verbs_work_outside_the_checkout(installed: Path, tmp_path: Path):
    code = "import catclip; print(catclip.__file__)"
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    where = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert where.stdout.startswith(str(installed))
    (tmp_path / "captions.txt").write_text("a dog on a sofa\ntwo dogs\n")
    done = run_outside(installed, tmp_path, "vocab", "data.sources=captions.txt", "tau=1", "out=v.tsv")
    assert done.returncode == 0, done.stderr
    assert "dog.n.01" in (tmp_path / "v.tsv").read_text()
    assert "two dogs" in (tmp_path / "v.html").read_text()


@pytest.mark.slow
def test_demo_works_outside_the_checkout(installed: Path, tmp_path: Path):
    tiny = ["glyphs.train=64", "glyphs.val=16", "glyphs.shard_size=32", "tau=1", "run.epochs=null", "run.steps=2",
            "run.batch=16", "run.evaluate_every=100%", "run.out=out"]  # fmt: skip
    done = run_outside(installed, tmp_path, "demo", *tiny)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "compare.png").stat().st_size > 10_000
    assert max(map(len, done.stdout.splitlines())) <= 80
