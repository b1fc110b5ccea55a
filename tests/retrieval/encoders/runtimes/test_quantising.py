"""int8: calibrated by texts, kept, found again."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrieval.encoders.dense import load_encoder
from retrieval.encoders.runtimes import quantising
from retrieval.encoders.runtimes.quantising import cosines
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import ModelError

pytest.importorskip("sentence_transformers")
pytest.importorskip("openvino")
pytest.importorskip("nncf")
pytestmark = pytest.mark.filterwarnings("ignore")  # nncf has many, of packages below it

WORDS = ("aurora", "solar", "wind", "magnetic", "field", "particle", "storm", "sky", "light", "night", "plasma")
TEXTS = [" ".join(WORDS[(3 * i + j * j) % len(WORDS)] for j in range(3 + i % 9)) for i in range(24)]
Make = Callable[..., Path]


def silent(done: int) -> None:
    """Tell nobody."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models go that cannot be kept beside themselves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(quantising, "CALIBRATED_BY", 12)
    monkeypatch.setattr(quantising, "CHECKED_BY", 8)
    return tmp_path / "cache" / "retrieval" / "int8"


@pytest.fixture
def unquantised(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of where models are kept: they stay as they are, which is quick."""
    monkeypatch.setattr(quantising, "quantise", lambda model, *given: model)


@pytest.fixture
def no_more(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on, nothing can be quantised."""

    def forbid(*given: object) -> None:
        raise AssertionError("it was quantised again")

    return lambda: monkeypatch.setattr(quantising, "quantise", forbid)


def test_vectors_are_near_and_the_card_says_which_model_it_was(
    make_model: Make, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mean and least cosine are told; queries are encoded in float32."""
    folder = make_model()
    encoder, fine = load_encoder(str(folder), precision="int8"), load_encoder(str(folder), precision="fp32")
    assert encoder.sample > 0
    assert encoder.card.quantised is None
    with caplog.at_level(logging.WARNING, "retrieval"):
        encoder.calibrate(TEXTS)
    found, right = (one.encode_documents(TEXTS, silent) for one in (encoder, fine))
    assert cosines(found, right).min() > 0.98
    assert not np.array_equal(found, right)
    np.testing.assert_array_equal(encoder.encode_queries(TEXTS), fine.encode_queries(TEXTS))
    assert (encoder.sample, encoder.card.precision, encoder.card.runtime) == (0, "int8", "openvino")
    assert re.search(r"int8: cosine with float32 \S+ on average, \S+ at least, of 8 texts", caplog.text)
    assert capsys.readouterr().out == ""  # where data may go
    kept = [json.loads(path.read_text()) for path in folder.rglob("calibration.json")]
    assert [about["quantised"] for about in kept] == [encoder.card.quantised]


@pytest.mark.usefixtures("unquantised")
def test_the_same_texts_find_the_model_again(make_model: Make, no_more: Callable[[], None]) -> None:
    """And so does the digest, whatever the texts are; the vectors are the same to the bit."""
    folder = str(make_model())
    first = load_encoder(folder, precision="int8")
    vectors = first.encode_documents(TEXTS, silent)
    no_more()
    again = load_encoder(folder, precision="int8")
    np.testing.assert_array_equal(again.encode_documents(TEXTS, silent), vectors)
    added = load_encoder(folder, expected=first.card)
    np.testing.assert_allclose(added.encode_documents(TEXTS[5:], silent), vectors[5:], atol=1e-6)
    assert first.card == again.card == added.card


@pytest.mark.usefixtures("unquantised")
def test_a_damaged_model_is_made_again(make_model: Make) -> None:
    """It has another digest than is written beside it."""
    folder = make_model()
    vectors = load_encoder(str(folder), precision="int8").encode_documents(TEXTS, silent)
    (path,) = folder.rglob("retrieval-int8/*/model.bin")
    path.write_bytes(path.read_bytes()[:-1])
    again = load_encoder(str(folder), precision="int8").encode_documents(TEXTS, silent)
    np.testing.assert_array_equal(vectors, again)


@pytest.mark.usefixtures("unquantised")
def test_a_model_that_is_kept_no_more(make_model: Make) -> None:
    """Whoever adds to its index is told what can be done."""
    folder = make_model()
    encoder = load_encoder(str(folder), precision="int8")
    encoder.calibrate(TEXTS)
    (path,) = folder.rglob("calibration.json")
    path.unlink()
    with pytest.raises(ModelError, match="is not kept here any more") as error:
        load_encoder(str(folder), expected=encoder.card)
    assert "--precision fp32" in str(error.value.hint)
    assert load_encoder(str(folder), precision="fp32", expected=encoder.card).card.precision == "float32"


@pytest.mark.usefixtures("unquantised")
def test_a_folder_that_cannot_be_written_to(make_model: Make, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model goes into the cache, and is found there."""
    folder, can_write = make_model(), quantising._can_write
    monkeypatch.setattr(quantising, "_can_write", lambda root: folder not in root.parents and can_write(root))
    load_encoder(str(folder), precision="int8").calibrate(TEXTS)
    assert not list(folder.rglob("calibration.json"))
    assert len(list(cache.glob("*/calibration.json"))) == 1


def test_no_texts_calibrate_nothing(make_model: Make) -> None:
    """They are waited for."""
    encoder = load_encoder(str(make_model()), precision="int8")
    assert encoder.encode_documents([], silent).shape == (0, 16)
    assert encoder.sample > 0


def test_a_sparse_model_in_int8(make_masked: Make, no_more: Callable[[], None]) -> None:
    """Weights are near, and it is found again."""
    folder = str(make_masked())
    encoder = load_sparse_encoder(folder, precision="int8")
    encoder.calibrate(TEXTS)
    fine = load_sparse_encoder(folder, precision="fp32")
    found, right = (one.encode_documents(TEXTS, silent) for one in (encoder, fine))
    near = [_cosine(found.row(i), right.row(i)) for i in range(len(TEXTS))]
    assert min(near) > 0.9
    assert encoder.encode_queries(TEXTS[:2]).row(1) == fine.encode_queries(TEXTS[:2]).row(1)
    no_more()
    added = load_sparse_encoder(folder, expected=encoder.card)
    assert added.encode_documents(TEXTS, silent).row(3) == found.row(3)


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    product = sum(weight * other.get(token, 0.0) for token, weight in one.items())
    norms = [sum(weight**2 for weight in vector.values()) ** 0.5 for vector in (one, other)]
    return product / (norms[0] * norms[1])


def test_cosines_of_vectors_without_length() -> None:
    """Alike are alike, also if they are zero."""
    one = np.array([[1, 0], [0, 0], [0, 0], [3, 4]], dtype=np.float32)
    other = np.array([[0, 2], [0, 0], [1, 0], [6, 8]], dtype=np.float32)
    np.testing.assert_allclose(cosines(one, other), [0, 1, 0, 1])
