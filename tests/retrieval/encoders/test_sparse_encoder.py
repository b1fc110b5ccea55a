import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import InputError, MissingExtraError, ModelError
from retrieval.types import SparseVectors

sentence_transformers = pytest.importorskip("sentence_transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sentence_transformers")

TEXTS = ["solar wind", "", "a long sky of plasma and light " * 20, "storm", "Aurora at night; the ion field.", "检索"]
Make = Callable[..., Path]


def silent(done: int) -> None:
    """Tell nobody."""


def dense(vectors: SparseVectors) -> np.ndarray:
    """(n, V) with zeros in it."""
    table = np.zeros((len(vectors), len(vectors.tokens)), dtype=np.float32)
    table[np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets)), vectors.columns] = vectors.weights
    return table


def theirs(folder: Path, side: str, texts: list[str] = TEXTS) -> np.ndarray:
    """What sentence-transformers makes of the texts, special tokens left out."""
    model = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    encode = model.encode_query if side == "query" else model.encode_document
    vectors = encode(texts, convert_to_sparse_tensor=False).numpy().copy()
    vectors[:, model.tokenizer.all_special_ids] = 0
    return vectors


def of_modules(folder: Path, modules: list[Any], **settings: Any) -> Path:
    """Save modules as sentence-transformers does."""
    sentence_transformers.SparseEncoder(modules=modules, device="cpu", **settings).save_pretrained(str(folder))
    return folder


def modules_of(folder: Path, **pooling: Any) -> list[Any]:
    """A masked language model and its pooling, in the classes of sentence-transformers."""
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

    return [Transformer(str(folder), transformer_task="fill-mask"), SpladePooling(**pooling)]


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_vectors_of_a_masked_language_model_equal_sentence_transformers(make_masked: Make, kind: str) -> None:
    """A plain folder of transformers; in the order of the texts, whatever their length, an empty one too."""
    folder = make_masked(kind=kind)
    encoder = load_sparse_encoder(str(folder))
    told: list[int] = []
    vectors = encoder.encode_documents(TEXTS, told.append)
    np.testing.assert_allclose(dense(vectors), theirs(folder, "document"), atol=1e-4)
    assert sum(told) == len(TEXTS)
    assert (vectors.columns.dtype, vectors.weights.dtype) == (np.int32, np.float32)
    assert len(vectors.columns) > 50
    assert vectors.weights.min() > 0


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_a_sparse_encoder_of_sentence_transformers_keeps_its_settings(
    make_masked: Make, tmp_path: Path, pooling: str, activation: str
) -> None:
    """Pooling, activation and prompts are those that its folder names."""
    modules = modules_of(make_masked(), pooling_strategy=pooling, activation_function=activation)
    folder = of_modules(tmp_path / "st", modules, prompts={"query": "storm ", "document": "sky "})
    encoder = load_sparse_encoder(str(folder))
    np.testing.assert_allclose(
        dense(encoder.encode_documents(TEXTS, silent)), theirs(folder, "document"), rtol=1e-5, atol=1e-4
    )
    np.testing.assert_allclose(dense(encoder.encode_queries(TEXTS)), theirs(folder, "query"), rtol=1e-5, atol=1e-4)
    assert pooling in encoder.card.pooling
    assert encoder.card.prompts == {"query": "storm ", "document": "sky "}


def test_queries_and_documents_may_have_models_of_their_own(make_masked: Make, tmp_path: Path) -> None:
    """A router of sentence-transformers with two masked language models."""
    from sentence_transformers.sparse_encoder.modules import Router

    sides = [modules_of(make_masked(name, seed=seed)) for name, seed in (("q", 1), ("d", 2))]
    folder = of_modules(tmp_path / "st", [Router.for_query_document(*sides)], similarity_fn_name="dot")
    encoder = load_sparse_encoder(str(folder))
    queries, documents = dense(encoder.encode_queries(TEXTS)), dense(encoder.encode_documents(TEXTS, silent))
    np.testing.assert_allclose(queries, theirs(folder, "query"), atol=1e-4)
    np.testing.assert_allclose(documents, theirs(folder, "document"), atol=1e-4)
    assert not np.allclose(queries, documents, atol=0.1)


def make_inference_free(masked: Path, folder: Path) -> Path:
    """A router with a table of random weights for queries."""
    import torch
    from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding

    documents = modules_of(masked)
    tokenizer = documents[0].tokenizer
    weights = torch.rand(len(tokenizer), generator=torch.Generator().manual_seed(3))
    table = SparseStaticEmbedding(tokenizer, weight=weights)
    return of_modules(folder, [Router.for_query_document([table], documents)], similarity_fn_name="dot")


def test_queries_may_be_encoded_by_a_table_of_token_weights(make_masked: Make, tmp_path: Path) -> None:
    """Each distinct token weighs once what the table says."""
    folder = make_inference_free(make_masked(), tmp_path / "st")
    texts = [*TEXTS, "wind wind solar wind"]
    encoder = load_sparse_encoder(str(folder))
    queries = encoder.encode_queries(texts)
    np.testing.assert_allclose(dense(queries), theirs(folder, "query", texts), atol=1e-6)
    assert queries.row(len(TEXTS)).keys() == {"wind", "solar"}
    documents = encoder.encode_documents(TEXTS, silent)
    np.testing.assert_allclose(dense(documents), theirs(folder, "document"), atol=1e-4)


def test_a_query_that_a_table_encodes_loads_no_model(make_masked: Make, tmp_path: Path) -> None:
    """Neither torch nor transformers, and the card is the same as one that the model made."""
    folder = make_inference_free(make_masked(), tmp_path / "st")
    code = (
        "import sys; from retrieval.encoders.sparse import load_sparse_encoder as load\n"
        f"encoder = load({str(folder)!r}, precision='fp32')\n"
        "print(encoder.encode_queries(['solar wind']).row(0), encoder.card)\n"
        "assert encoder.literal_tokens('solar wind') == {'solar', 'wind'}\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    encoder = load_sparse_encoder(str(folder))
    encoder.encode_documents(["solar"], silent)
    assert done.stdout.strip() == f"{encoder.encode_queries(['solar wind']).row(0)} {encoder.card}"


@pytest.mark.parametrize("file", ["idf.json", "query_token_weights.json"])
def test_a_file_of_token_weights_beside_a_model_encodes_queries(make_masked: Make, file: str) -> None:
    """Tokens that it does not name weigh nothing."""
    folder = make_masked()
    (folder / file).write_text(json.dumps({"solar": 2.0, "wind": 0.5, "[SEP]": 3.0}))
    encoder = load_sparse_encoder(str(folder))
    queries = encoder.encode_queries(["Wind! Solar wind in the sky [SEP]", "sky"])
    assert [queries.row(i) for i in range(2)] == [{"solar": 2.0, "wind": 0.5}, {}]
    np.testing.assert_allclose(dense(encoder.encode_documents(TEXTS, silent)), theirs(folder, "document"), atol=1e-4)


def test_a_token_weight_of_no_token_is_refused(make_masked: Make) -> None:
    """The table is of another tokenizer."""
    folder = make_masked()
    (folder / "idf.json").write_text(json.dumps({"nowhere": 1.0}))
    with pytest.raises(ModelError, match="'nowhere', which is no token"):
        load_sparse_encoder(str(folder)).encode_queries(["solar"])


def test_only_the_largest_weights_are_kept(make_masked: Make) -> None:
    """As many as are asked for on each side; the card says so, and it makes another index of it."""
    folder = str(make_masked())
    whole = load_sparse_encoder(folder)
    cut = load_sparse_encoder(folder, query_top=2, document_top=5)
    for encode, top in (("encode_queries", 2), ("encode_documents", 5)):
        given = (TEXTS,) if top == 2 else (TEXTS, silent)
        all_of, kept = getattr(whole, encode)(*given), getattr(cut, encode)(*given)
        for i in range(len(TEXTS)):
            assert kept.row(i) == dict(list(all_of.row(i).items())[:top])
        assert (np.diff(kept.offsets) == top).all()
    assert cut.card.top_terms == {"query": 2, "document": 5}
    assert cut.card.differences(whole.card) == ["top_terms"]


def test_of_equal_weights_the_lower_columns_are_kept(make_masked: Make) -> None:
    """So that pruning never depends on the order of anything."""
    folder = make_masked()
    (folder / "idf.json").write_text(json.dumps({"sky": 1.0, "solar": 1.0, "wind": 2.0, "storm": 1.0}))
    vectors = load_sparse_encoder(str(folder), query_top=3).encode_queries(["storm sky solar wind"])
    assert vectors.row(0) == {"wind": 2.0, "solar": 1.0, "storm": 1.0}
    assert (np.diff(vectors.columns) > 0).all()


def test_the_card_tells_what_decides_the_vectors(make_masked: Make) -> None:
    """Model, weights, pooling, length, similarity; other weights are noticed."""
    folder = make_masked()
    card = load_sparse_encoder(str(folder)).card
    assert (card.model, card.similarity, card.precision) == (str(folder), "dot", "float32")
    assert (card.max_length, card.pooling, card.modules) == (32, "max", ("BertForMaskedLM",))
    assert card.dimensions == len(load_sparse_encoder(str(folder)).encode_queries(["sky"]).tokens)
    other = load_sparse_encoder(str(make_masked("other", seed=1))).card
    assert card.differences(other) == ["weights"]
    with pytest.raises(ModelError, match="is not the one the index was built with"):
        load_sparse_encoder(str(folder), expected=other)


def test_coarse_parameters_give_nearly_the_same(make_masked: Make) -> None:
    """In bfloat16, and the card says so."""
    folder = str(make_masked())
    fine, coarse = load_sparse_encoder(folder), load_sparse_encoder(folder, precision="bfloat16")
    vectors = coarse.encode_documents(TEXTS, silent)
    np.testing.assert_allclose(dense(vectors), dense(fine.encode_documents(TEXTS, silent)), atol=0.1)
    assert coarse.card.precision == "bfloat16"
    assert vectors.weights.dtype == np.float32


def test_literal_tokens_are_those_of_the_text(make_masked: Make) -> None:
    """Special tokens are none."""
    encoder = load_sparse_encoder(str(make_masked()))
    assert encoder.literal_tokens("Solar winds [SEP] 检索") == {"solar", "wind", "##s"}
    assert encoder.literal_tokens("") == set()


def test_no_texts_give_no_vectors(make_masked: Make) -> None:
    """An empty batch is one."""
    encoder = load_sparse_encoder(str(make_masked()))
    assert len(encoder.encode_queries([])) == len(encoder.encode_documents([], silent)) == 0


def test_an_encoder_without_a_language_model_head(tiny_model: Path, tmp_path: Path) -> None:
    """Of sentence-transformers or of transformers: the message says what to do."""
    with pytest.raises(ModelError, match="is made of Transformer, Pooling") as error:
        load_sparse_encoder(str(tiny_model))
    assert "from_encoder" in str(error.value.hint)
    with pytest.raises(ModelError, match="has no masked-language-model head") as error:
        load_sparse_encoder(str(tiny_model.parent / "transformer"))
    assert "from_encoder" in str(error.value.hint)


def test_a_folder_without_a_tokenizer(make_masked: Make) -> None:
    """Is an error of the model, not of the library below."""
    folder = make_masked()
    for path in folder.iterdir():
        if "token" in path.name or path.name == "vocab.txt":
            path.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_sparse_encoder(str(folder)).encode_queries(["sky"])


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(ModelError, match="holds no language model"):
        load_sparse_encoder(str(tmp_path))


def test_another_similarity_than_dot_is_refused(make_masked: Make, tmp_path: Path) -> None:
    """An index of impacts serves no other."""
    folder = of_modules(tmp_path / "st", modules_of(make_masked()), similarity_fn_name="euclidean")
    with pytest.raises(ModelError, match="compares vectors by euclidean"):
        load_sparse_encoder(str(folder))


@pytest.mark.parametrize("options", [{"query_top": 0}, {"document_top": -1}, {"precision": "int4"}])
def test_settings_that_make_no_sense(make_masked: Make, options: dict[str, Any]) -> None:
    """Are refused before a model is loaded."""
    with pytest.raises(InputError):
        load_sparse_encoder("nowhere", **options)


def test_without_transformers(make_masked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install."""
    folder = str(make_masked())
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="transformers") as error:
        load_sparse_encoder(folder)
    assert "models" in str(error.value.hint)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(make_masked: Callable[..., Path]) -> None:
    """Weights of documents and queries, to a thousandth."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    model, texts = str(make_masked()), ["solar wind", "", "an electron meets a storm of light " * 5]
    here, there = (load_sparse_encoder(model, device=device) for device in ("cpu", "cuda"))
    for one, other in (
        (here.encode_queries(texts), there.encode_queries(texts)),
        (here.encode_documents(texts, lambda done: None), there.encode_documents(texts, lambda done: None)),
    ):
        for row in range(len(texts)):
            ours, theirs = one.row(row), other.row(row)
            for token in {*ours, *theirs}:
                assert ours.get(token, 0.0) == pytest.approx(theirs.get(token, 0.0), abs=1e-3)
