"""Fixtures that many tests share: small corpora, real collections, and models made on the spot."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from retrieval.types import Document

# No test may reach a model hub; read when huggingface_hub is imported, so set before that.
os.environ["HF_HUB_OFFLINE"] = "1"

# The first example of a test may compile a kernel, and the machine may be busy: slowness says nothing of an example.
hypothesis.settings.register_profile(
    "retrieval", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("retrieval")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

WORDS = (
    *("aurora", "solar", "wind", "magnetic", "field", "particle", "storm", "sky"),
    *("light", "night", "plasma", "ion", "electron", "oxygen", "nitrogen"),
)


@pytest.fixture(autouse=True)
def _float32_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `auto` takes does not depend on the machine that tests run on."""
    from retrieval.encoders.runtimes import precision

    monkeypatch.setattr(precision, "_best_precision", lambda on_cpu, runtime: "float32")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test collections; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real test collections are not beside this checkout (../shared/data)")
    return SHARED_DATA


@pytest.fixture
def documents() -> list[Document]:
    """Six documents: two that are equal but for their id, one without a title, one that is empty."""
    return [
        Document(id="a", title="Aurora", text="Solar wind makes the sky glow.", metadata={"year": 2001}),
        Document(id="b", title="Storms", text="A magnetic storm follows the solar wind."),
        Document(id="c", text="Oxygen glows green, nitrogen glows red."),
        Document(id="d", title="", text=""),
        Document(id="twin-1", title="Twin", text="An electron meets an ion in the plasma."),
        Document(id="twin-2", title="Twin", text="An electron meets an ion in the plasma."),
    ]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model with random weights: BERT of one layer and 16 dimensions over a few words."""
    return make_tiny_model(tmp_path_factory.mktemp("models"))


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Makes such models of other weights, similarity or prompts; each call replaces the one before."""
    return functools.partial(make_tiny_model, tmp_path / "model")


def make_tiny_model(folder: Path, *, seed: int = 0, similarity: str = "cosine", **prompts: str) -> Path:
    """Write the tiny model below `folder`, and say where."""
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(seed)
    plain, finished = folder / "transformer", folder / "tiny"
    plain.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz"]
    (plain / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(plain / "vocab.txt")).save_pretrained(plain)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=32)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(
        modules=[transformer, pooling], similarity_fn_name=similarity, device="cpu", prompts=prompts or None
    )
    model.save_pretrained(str(finished))
    return finished
