"""Fused attention in bf16 on a CPU is computed in float32; what else it does, and what is saved, stays."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.nn import functional  # noqa: E402

from retrieval.encoders.neural import attention  # noqa: E402


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without tiles, whatever this one is."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


def bert() -> torch.nn.Module:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    return BertModel(BertConfig(vocab_size=30, **sizes)).eval()


def test_attention_is_computed_in_float32_under_bf16(slow: None) -> None:
    """The result is that of float32, with gradients; without autocast tensors keep their type."""
    q, k, v = (torch.randn(2, 2, 5, 8, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
    exact = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = attention.attend(q, k, v, mask)
        rounded = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)
    assert rounded.dtype == torch.bfloat16
    found.sum().backward()
    assert v.grad is not None
    assert attention.attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask).dtype == torch.bfloat16


def test_with_tiles_bf16_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """They compute in it."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    q = torch.randn(1, 1, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert attention.attend(q, q, q, torch.ones(1, 1, 3, 3, dtype=torch.bool)).dtype == torch.bfloat16


def test_a_model_of_transformers_attends_so_too(slow: None, tmp_path: Path) -> None:
    """In float32 its states do not change; in bf16 they come nearer; and what is saved says nothing of it."""
    model, plain = bert(), bert()
    attention.attend_in_float32(model)
    asked = {"input_ids": torch.arange(24).reshape(3, 8), "attention_mask": torch.ones(3, 8, dtype=torch.long)}
    asked["attention_mask"][0, 5:] = 0
    exact = plain(**asked).last_hidden_state
    assert torch.equal(model(**asked).last_hidden_state, exact)
    with torch.autocast("cpu", torch.bfloat16):
        near, rounded = model(**asked).last_hidden_state, plain(**asked).last_hidden_state
    assert 0 < (near - exact).norm() < (rounded - exact).norm()
    model.save_pretrained(tmp_path)
    assert "float32" not in (tmp_path / "config.json").read_text().replace('"dtype": "float32"', "")
    assert type(model).from_pretrained(tmp_path).config._attn_implementation == "sdpa"
