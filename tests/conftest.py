import os
from pathlib import Path

import pytest


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
