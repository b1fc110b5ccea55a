"""The same vectors, whatever runs the model."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.encoders.dense import load_encoder
from retrieval.encoders.runtimes import bodies
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import InputError, ModelError
from retrieval.types import SparseVectors

pytest.importorskip("sentence_transformers")

TEXTS = ["solar wind", "", "a long sky of plasma and light " * 20, "storm", "检索", "an ion meets an electron at night"]
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime"}
Make = Callable[..., Path]


def silent(done: int) -> None:
    """Tell nobody."""


def table(vectors: SparseVectors) -> np.ndarray:
    """(n, V) with zeros in it."""
    found = np.zeros((len(vectors), len(vectors.tokens)), dtype=np.float32)
    found[np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets)), vectors.columns] = vectors.weights
    return found


@pytest.mark.parametrize("runtime", PACKAGES)
def test_another_runtime_gives_the_same_dense_vectors(tiny_model: Path, runtime: str) -> None:
    """Of documents and queries, in batches of any size; the card says which it was."""
    pytest.importorskip(PACKAGES[runtime])
    ours = load_encoder(str(tiny_model), precision="fp32", runtime=runtime, batch_tokens=40)
    torchs = load_encoder(str(tiny_model), precision="fp32")
    assert (ours.card.runtime, torchs.card.runtime) == (runtime, "torch")
    np.testing.assert_allclose(ours.encode_documents(TEXTS, silent), torchs.encode_documents(TEXTS, silent), atol=1e-5)
    np.testing.assert_allclose(ours.encode_queries(TEXTS), torchs.encode_queries(TEXTS), atol=1e-5)
    assert not ours.card.differences(torchs.card)


def test_no_package_reports_that_it_is_used(tmp_path: Path, tiny_model: Path) -> None:
    """OpenVINO and nncf would, from the first import on; no client's number is made either, as that needs a place."""
    pytest.importorskip("openvino_telemetry")
    pytest.importorskip("nncf")
    code = f"""
import sys
from retrieval.encoders.dense import load_encoder
encoder = load_encoder({str(tiny_model)!r}, precision="int8", device="cpu")
encoder.calibrate([f"the sky at night {{n}}" for n in range(encoder.sample)])
assert encoder.card.runtime == "openvino" and "nncf" in sys.modules
assert "openvino_telemetry" not in sys.modules
"""
    # Where CI is set, they report nothing by themselves.
    own = {name: value for name, value in os.environ.items() if name != "CI"}
    own |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize("runtime", PACKAGES)
def test_another_runtime_gives_the_same_sparse_vectors(make_masked: Make, runtime: str) -> None:
    """The maximum over tokens stays torch's."""
    pytest.importorskip(PACKAGES[runtime])
    folder = str(make_masked())
    ours = load_sparse_encoder(folder, precision="fp32", runtime=runtime, batch_tokens=40)
    torchs = load_sparse_encoder(folder, precision="fp32")
    assert (ours.card.runtime, torchs.card.runtime) == (runtime, "torch")
    found, right = (table(encoder.encode_documents(TEXTS, silent)) for encoder in (ours, torchs))
    np.testing.assert_allclose(found, right, atol=1e-4)
    assert len(ours.encode_queries(["solar wind"]).columns)


def test_an_echo_by_openvino(make_causal: Make) -> None:
    """A causal model is converted, too; only its second reading is pooled."""
    pytest.importorskip("openvino")
    folder = str(make_causal())
    ours, torchs = (load_sparse_encoder(folder, precision="fp32", runtime=runtime) for runtime in ("openvino", "torch"))
    found, right = (table(encoder.encode_documents(TEXTS[:4], silent)) for encoder in (ours, torchs))
    np.testing.assert_allclose(found, right, atol=1e-3)


def test_vectors_do_not_depend_on_the_batches(tiny_model: Path) -> None:
    """But for rounding."""
    one, other = (load_encoder(str(tiny_model), batch_tokens=tokens) for tokens in (1, 10_000))
    np.testing.assert_allclose(one.encode_documents(TEXTS, silent), other.encode_documents(TEXTS, silent), atol=1e-6)


def test_half_precision_is_nearly_the_same(tiny_model: Path) -> None:
    """By torch, where the CPU has it or not; vectors are float32."""
    coarse, fine = (load_encoder(str(tiny_model), precision=name, runtime="torch") for name in ("bf16", "fp32"))
    found, right = (encoder.encode_documents(TEXTS, silent) for encoder in (coarse, fine))
    assert coarse.card.precision == "bfloat16"
    assert found.dtype == np.float32
    assert not np.array_equal(found, right)
    assert (found * right).sum(axis=1).min() > 0.999
    assert coarse.card.weights == fine.card.weights


def test_a_runtime_that_computes_something_else_is_found_out(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error if it was asked for; else torch takes its place, with a warning."""
    pytest.importorskip("openvino")
    from retrieval.encoders.runtimes.precision import Choice

    monkeypatch.setitem(bodies._TOLERANCE, "float32", -1.0)
    with pytest.raises(ModelError, match="computes something else in openvino"):
        load_encoder(str(tiny_model), precision="fp32", runtime="openvino")
    chosen = Choice(device="cpu", precision="float32", runtime="openvino", asked=False)
    monkeypatch.setattr("retrieval.encoders.dense.choose", lambda *asked: chosen)
    with caplog.at_level(logging.WARNING, "retrieval"):
        assert load_encoder(str(tiny_model)).card.runtime == "torch"
    assert "torch runs it" in caplog.text


def test_fewer_dimensions_are_the_first_ones_made_long_again(tiny_model: Path) -> None:
    """As sentence-transformers cuts vectors; the card says how many there are."""
    few, all_ = load_encoder(str(tiny_model), dimensions=6), load_encoder(str(tiny_model))
    found, whole = (encoder.encode_documents(TEXTS, silent) for encoder in (few, all_))
    cut = whole[:, :6] / np.linalg.norm(whole[:, :6], axis=1, keepdims=True)
    assert few.card.dimensions == 6
    np.testing.assert_allclose(found, cut, atol=1e-6)


def test_dimensions_of_inner_products_keep_their_lengths(make_model: Make) -> None:
    """Nothing is normalised that the model does not normalise."""
    folder = str(make_model(similarity="dot"))
    few, all_ = load_encoder(folder, dimensions=6), load_encoder(folder)
    np.testing.assert_allclose(few.encode_queries(TEXTS), all_.encode_queries(TEXTS)[:, :6], atol=1e-6)


def test_queries_have_as_many_dimensions_as_the_index(tiny_model: Path) -> None:
    """Without being told."""
    card = load_encoder(str(tiny_model), dimensions=6).card
    assert load_encoder(str(tiny_model), expected=card).encode_queries(["sky"]).shape == (1, 6)


@pytest.mark.parametrize("dimensions", [0, 17])
def test_more_dimensions_than_there_are(tiny_model: Path, dimensions: int) -> None:
    """Or none, cannot be kept."""
    with pytest.raises(InputError, match="has 16 dimensions"):
        load_encoder(str(tiny_model), dimensions=dimensions)


def test_threads_share_an_encoder(tiny_model: Path) -> None:
    """Each gets the vectors of its own texts."""
    pytest.importorskip("openvino")
    encoder = load_encoder(str(tiny_model), device="cpu", precision="fp32", runtime="openvino")
    texts = [f"{'solar wind ' * (number % 5)}{number}" for number in range(40)]
    expected = np.concatenate([encoder.encode_queries([text]) for text in texts])
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = np.concatenate(list(pool.map(lambda text: encoder.encode_queries([text]), texts)))
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_gives_what_the_cpu_gives(tiny_model: Path, precision: str) -> None:
    """In halves without padding, where attention of that kind is installed."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    there = load_encoder(str(tiny_model), device="cuda", precision=precision)
    here = load_encoder(str(tiny_model), device="cpu", precision="fp32")
    cosines = (there.encode_documents(TEXTS, silent) * here.encode_documents(TEXTS, silent)).sum(axis=1)
    assert cosines.min() > (0.99999 if precision == "fp32" else 0.999)
