from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from tests.rerank.making import write_cross_encoder


@pytest.fixture
def make_cross(tmp_path: Path) -> Callable[..., Path]:
    """Writes a cross-encoder with random weights to a folder of that name."""

    def make(name: str = "cross", **config: Any) -> Path:
        return write_cross_encoder(tmp_path / name, **config)

    return make
