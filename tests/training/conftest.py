"""The task and the models of `making`, made once, and one thread so that runs can be compared to the bit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

import torch

from tests.training.making import make_collection, make_dense, make_encoder, make_run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder."""
    return make_collection(tmp_path_factory.mktemp("task") / "data")


@pytest.fixture(scope="session")
def run(collection: Path) -> Path:
    """A TREC run of its training queries."""
    return make_run(collection.parent / "run.trec", collection)


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained masked language model."""
    return make_encoder(tmp_path_factory.mktemp("models") / "masked", head=True)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a head."""
    return make_encoder(tmp_path_factory.mktemp("models") / "bare", head=False)


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained dense encoder."""
    return make_dense(tmp_path_factory.mktemp("models") / "dense")
