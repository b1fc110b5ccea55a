"""Two domains, one index of both, and a router between their experts, made once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("peft")

import torch

from retrieval.indexing import Index
from retrieval.learning.routers.expert_training import domains_of
from retrieval.learning.routers.experts import make_router
from tests.retrieval.learning.routers.making import MAKING, make_domain
from tests.training.making import make_dense


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So that experts that are trained again can be compared to the byte."""
    with _one_thread():
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class World(NamedTuple):
    """A base model, two domains, an index with a lexical part and a dense one by the base, and a router."""

    model: Path
    a: Path
    b: Path
    index: Path
    router: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    model = make_dense(folder / "model", dropout=0.0)
    a, b = make_domain(folder / "a", (0, 1, 2)), make_domain(folder / "b", (3, 4, 5))
    Index.build([a / "corpus.jsonl", b / "corpus.jsonl"], folder / "index", dense=str(model), device="cpu")
    domains = domains_of([a, b], indexes=[folder / "index"])
    with _one_thread():
        make_router(domains, str(model), MAKING, folder / "router")
    return World(model, a, b, folder / "index", folder / "router")
