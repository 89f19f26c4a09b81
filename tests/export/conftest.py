from pathlib import Path

import pytest
import torch

from tests.export.making import make_run


@pytest.fixture(scope="session")
def runs(glyphs, tmp_path_factory) -> dict[str, Path]:
    """Tiny runs by their objectives."""
    folder = tmp_path_factory.mktemp("exported-runs")
    kinds = ("categorical", "hybrid", "siglip", "usual", "finetuned", "resnet", "mobilenet")
    return {kind: make_run(folder / kind, kind, glyphs) for kind in kinds}


@pytest.fixture
def pictures() -> torch.Tensor:
    """uint8 [3, 3, 32, 32]."""
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
