"""What the backward pass computes again has the gradients of what is kept."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from retrieval.encoders.neural.dual import DualEncoder  # noqa: E402
from tests.training.making import make_dense  # noqa: E402

TEXTS = {"query": ["q1x1 q2x2", "q0x1"], "document": ["d3x3", "d1x1 d2x2"]}


def gradients(encoder: DualEncoder, *, cached: bool) -> dict[str, Any]:
    """Of the inner products of two queries with two documents."""
    encoder.zero_grad()
    torch.manual_seed(0)
    queries, documents = encoder([(encoder.tokenize(TEXTS[side], side), side) for side in TEXTS], cached=cached)
    (queries @ documents.T).square().sum().backward()
    return {name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_random_numbers_are_those_of_the_first_time(tmp_path: Path) -> None:
    """Of dropout; other ones would give other gradients."""
    encoder = DualEncoder.load(str(make_dense(tmp_path / "model", dropout=0.3)), device="cpu").train()
    assert same(gradients(encoder, cached=False), gradients(encoder, cached=True))


@pytest.mark.gpu
def test_random_numbers_of_a_gpu_are_those_of_the_first_time(tmp_path: Path) -> None:
    """They are another generator's than the CPU's; sums are not the same there to the bit."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    encoder = DualEncoder.load(str(make_dense(tmp_path / "model", dropout=0.3)), device="cuda").train()
    plain, cached = gradients(encoder, cached=False), gradients(encoder, cached=True)
    assert plain.keys() == cached.keys()
    assert all(torch.allclose(plain[name], cached[name], rtol=1e-3, atol=1e-5) for name in plain)


def test_a_side_that_learns_nothing_is_computed_once(tmp_path: Path) -> None:
    """And gets no gradient, as without caching."""
    encoder = DualEncoder.load(str(make_dense(tmp_path / "model")), device="cpu").with_query_side().eval()
    ran = []
    encoder.inner[0].sub_modules["document"][0].register_forward_pre_hook(lambda *_: ran.append(1))
    plain = gradients(encoder, cached=False)
    ran.clear()
    assert same(plain, gradients(encoder, cached=True))
    assert len(ran) == 1
    assert all("sub_modules.query" in name for name in plain)


def test_without_gradients_it_is_computed_once(tmp_path: Path) -> None:
    """As in a search on a dev set."""
    encoder = DualEncoder.load(str(make_dense(tmp_path / "model")), device="cpu").eval()
    chunks = [(encoder.tokenize(TEXTS["query"], "query"), "query")]
    with torch.no_grad():
        (plain,), (found,) = encoder(chunks), encoder(chunks, cached=True)
    assert torch.equal(plain, found)
    assert not found.requires_grad
