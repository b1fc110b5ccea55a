"""Adapters in files of their own compute what the model that was trained with them does."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from retrieval.encoders.dense import load_encoder  # noqa: E402
from retrieval.encoders.experts import ExpertEncoder  # noqa: E402
from retrieval.encoders.neural.adapters import Adapters, write_adapters  # noqa: E402
from retrieval.encoders.neural.dual import DualEncoder  # noqa: E402
from retrieval.errors import ModelError  # noqa: E402
from tests.training.making import make_dense  # noqa: E402

TEXTS = ["q1x1 q2x2", "q0x1"]


def adapted(model: Path, path: Path, *, rank: int, seed: int) -> np.ndarray:
    """Write adapters with random weights; the vectors that their own model makes of TEXTS."""
    encoder = DualEncoder.load(str(model), device="cpu").with_query_side().with_lora(rank, alpha=32, dropout=0.1)
    torch.manual_seed(seed)
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    write_adapters(encoder.eval().side("query"), path)
    with torch.no_grad():
        return encoder([(encoder.tokenize(TEXTS, "query"), "query")])[0].numpy()


def test_each_expert_encodes_as_the_model_it_was_trained_in(tmp_path: Path) -> None:
    """Beside others of other ranks, over a base with one side or two; without an expert, the base is as it was."""
    model = make_dense(tmp_path / "model")
    DualEncoder.load(str(model), device="cpu").with_query_side().save(tmp_path / "two")
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("a.b", "c")}
    vectors = {name: adapted(model, path, rank=2 + len(name), seed=len(name)) for name, path in paths.items()}
    plain = load_encoder(str(model), device="cpu", precision="fp32")
    for base in (model, tmp_path / "two"):
        encoder = ExpertEncoder(str(base), paths, device="cpu")
        for name, expected in vectors.items():
            assert encoder.encode_queries(TEXTS, name) == pytest.approx(expected, abs=1e-5)
            assert np.abs(encoder.encode_queries(TEXTS) - expected).max() > 0.1
        assert np.array_equal(encoder.encode_queries(TEXTS), plain.encode_queries(TEXTS))
        documents = encoder.encode_documents(TEXTS, lambda done: None)
        assert np.array_equal(documents, plain.encode_documents(TEXTS, lambda done: None))


def test_adapters_of_another_model_are_an_error(tmp_path: Path) -> None:
    """And so is a file that holds none."""
    path = tmp_path / "adapters.safetensors"
    adapted(make_dense(tmp_path / "model"), path, rank=2, seed=0)
    with pytest.raises(ModelError, match="does not have so"):
        Adapters(torch.nn.Sequential(torch.nn.Linear(3, 3))).add("a", path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read as adapters"):
        Adapters(torch.nn.Sequential()).add("a", path)
