import pytest

torch = pytest.importorskip("torch")

from retrieval.encoders.neural import pooling  # noqa: E402
from retrieval.encoders.neural.pooling import splade_pool, splade_sum  # noqa: E402

# Texts 0 to 4; 1 and 4 have no tokens, and 2 is longer than what is multiplied at once.
TEXTS = torch.tensor([0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 3])
N = 5


def inputs(kind: torch.dtype = torch.float64, dimensions: int = 6, width: int = 9) -> tuple[torch.Tensor, ...]:
    """Random states, projection and bias, all of which want a gradient."""
    generator = torch.Generator().manual_seed(0)
    shapes = (len(TEXTS), dimensions), (width, dimensions), (width,)
    return tuple(torch.randn(shape, generator=generator, dtype=kind).requires_grad_() for shape in shapes)


def plain(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, of_sum: bool = False) -> torch.Tensor:
    """The same, with every logit at once."""
    weights = torch.log1p(torch.relu(hidden @ weight.T + bias))
    rows = [weights[text == TEXTS] for text in range(N)]
    if of_sum:
        return torch.stack([row.sum(0) for row in rows])
    return torch.stack([row.amax(0) if len(row) else row.sum(0) for row in rows])


@pytest.mark.parametrize("tokens_at_once", [1, 4, 512])
def test_equals_the_plain_computation(tokens_at_once: int) -> None:
    """Values and all three gradients, however many tokens are multiplied at once."""
    given, same = inputs(), inputs()
    ours = splade_pool(given[0], TEXTS, N, *given[1:], tokens_at_once=tokens_at_once)
    theirs = plain(*same)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    assert not ours[[1, 4]].any()
    slopes = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1), dtype=ours.dtype)
    (ours * slopes).sum().backward()
    (theirs * slopes).sum().backward()
    for mine, its in zip(given, same, strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-9, rtol=0)


def test_equals_the_plain_computation_in_float32() -> None:
    """Within a millionth."""
    given = inputs(torch.float32)
    torch.testing.assert_close(splade_pool(given[0], TEXTS, N, *given[1:]), plain(*given), atol=1e-6, rtol=0)


def test_the_gradient_is_exact() -> None:
    """As finite differences tell."""
    pool = lambda hidden, weight, bias: splade_pool(hidden, TEXTS, N, weight, bias, tokens_at_once=4)  # noqa: E731
    assert torch.autograd.gradcheck(pool, inputs())


@pytest.mark.parametrize("tokens_at_once", [4, 512])
def test_sums_equal_the_plain_computation(tokens_at_once: int) -> None:
    """Values and gradients."""
    given = inputs()
    ours = splade_sum(given[0], TEXTS, N, *given[1:], tokens_at_once=tokens_at_once)
    torch.testing.assert_close(ours, plain(*given, of_sum=True), atol=1e-9, rtol=0)
    add = lambda hidden, weight, bias: splade_sum(hidden, TEXTS, N, weight, bias, tokens_at_once=4)  # noqa: E731
    assert torch.autograd.gradcheck(add, inputs())


def test_only_so_many_tokens_meet_the_vocabulary_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of all tokens with all words never exists."""
    rows: list[int] = []
    linear = pooling.linear
    monkeypatch.setattr(pooling, "linear", lambda *given: rows.append(len(given[0])) or linear(*given))
    hidden, weight, bias = inputs()
    splade_pool(hidden, TEXTS, N, weight, bias, tokens_at_once=4).sum().backward()
    assert rows == [4, 4, 3]


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_no_gradient(frozen: int) -> None:
    """And the others get theirs."""
    given = inputs()
    given[frozen].requires_grad_(False)
    splade_pool(given[0], TEXTS, N, *given[1:]).sum().backward()
    assert [tensor.grad is None for tensor in given] == [i == frozen for i in range(3)]


def test_under_autocast_the_product_is_coarse_and_the_rest_fine() -> None:
    """The product is that of bfloat16, the weights are float32, and gradients come in the types of what they are of."""
    given = inputs(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = splade_pool(given[0], TEXTS, N, *given[1:])
    coarse = [tensor.detach().bfloat16() for tensor in given[:2]]
    logits = torch.nn.functional.linear(*coarse).float() + given[2]
    rows = [logits[text == TEXTS] for text in range(N)]
    expected = torch.stack([row.amax(0).relu().log1p() if len(row) else torch.zeros(9) for row in rows])
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)
    weights.sum().backward()
    assert {tensor.grad.dtype for tensor in given} == {torch.float32}


def test_a_column_whose_bias_is_minus_infinity_stays_zero() -> None:
    """And nothing else changes; gradients stay finite."""
    hidden, weight, bias = inputs()
    barred = bias.masked_fill(torch.arange(9) == 3, -torch.inf)
    weights = splade_pool(hidden, TEXTS, N, weight, barred)
    assert not weights[:, 3].any()
    kept = torch.arange(9) != 3
    torch.testing.assert_close(weights[:, kept], splade_pool(hidden, TEXTS, N, weight, bias)[:, kept])
    weights.sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (hidden, weight, bias))
