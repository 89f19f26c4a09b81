import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("catclip", deadline=None)
settings.load_profile("catclip")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data beside the checkout. Users have none: tests that need it skip, but CI must have it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        message = "needs the development data beside the checkout"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny drawn data set: train-*.tar (48 samples of 32 pixels in 3 shards), val-*.tar (16), and its probe sets."""
    from catclip.data.glyphs import make_glyphs

    folder = tmp_path_factory.mktemp("glyphs")
    make_glyphs(folder, train=48, val=16, size=32, shard_size=16, workers=1, probe_train=2, probe_test=1)
    return folder


@pytest.fixture
def catclip(monkeypatch, capsys, tmp_path):
    """Call the command line here, in an empty folder: the exit code, and what it said on both streams."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    from catclip import cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["catclip", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def received(monkeypatch):
    """Verbs that only note what they were asked for."""
    import catclip.verbs.pretrain
    import catclip.verbs.vocab

    configs: list = []
    monkeypatch.setattr(catclip.verbs.pretrain, "run", configs.append)
    monkeypatch.setattr(catclip.verbs.vocab, "run", configs.append)
    return configs
