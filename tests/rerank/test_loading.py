"""Whatever kind a reranker is of, its folder tells; lists of nothing, of one passage and of empty ones have scores."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from retrieval.encoders.models import quiet
from retrieval.errors import InputError, ModelError
from retrieval.rerank.cross_encoder import PairScorer
from retrieval.rerank.loading import load_reranker
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from tests.rerank.making import VOCABULARY, write_cross_encoder, write_mono_t5, write_tokenizer
from tests.rerank.set_making import write_set_encoder

KINDS = {"cross-encoder": write_cross_encoder, "set-encoder": write_set_encoder, "mono-t5": write_mono_t5}


@pytest.mark.parametrize("kind", KINDS)
def test_any_list_has_scores(tmp_path: Path, kind: str) -> None:
    """As many as it has passages, all of them numbers; of a set-encoder those of one alone, too."""
    write: Callable[[Path], Path] = KINDS[kind]
    reranker = load_reranker(str(write(tmp_path / kind)), device="cpu", precision="fp32")
    lists = [[], ["sky"], ["", " ", "the solar wind", ""], []]
    found = reranker.score_lists(["wind"] * 4, lists)
    assert [scores.shape for scores in found] == [(0,), (1,), (4,), (0,)]
    assert all(np.isfinite(scores).all() for scores in found)
    assert reranker.score_lists([], []) == []
    assert reranker.settings["kind"] == kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("queries", "lists", "said"),
    [
        (["wind"], [], "1 queries and 0 lists"),
        ([], [["sky"]], "0 queries and 1 lists"),
        ("wind", [["sky"]] * 4, "got one text"),
        (["wind", "sky"], [["sky"], "sky"], "the passages of query 1 are one text"),
        (["wind"], [["sky", None]], "passage 1 of query 0 must be a string; got None"),
        (["wind"], [["\ud800"]], "passage 0 of query 0 holds a lone surrogate"),
        (["wind", None], [["sky"], []], "query 1 must be a string; got None"),
    ],
)
def test_what_are_no_lists_of_texts_is_told(tmp_path: Path, kind: str, queries: Any, lists: Any, said: str) -> None:
    """By every kind alike, with the place of what is wrong."""
    reranker = load_reranker(str(KINDS[kind](tmp_path / kind)), device="cpu", precision="fp32")
    with pytest.raises(InputError, match=said):
        reranker.score_lists(queries, lists)


def test_a_set_encoder_is_no_cross_encoder(tmp_path: Path) -> None:
    """To score pairs, or to be trained as one; what runs it and what trains it is said."""
    folder = str(write_set_encoder(tmp_path / "set"))
    for load in (partial(PairScorer, device="cpu"), CrossEncoder.for_training, CrossEncoder.from_encoder):
        with pytest.raises(ModelError, match="is a set-encoder, and no cross-encoder") as caught:
            load(folder)
        assert caught.value.hint
        assert "retrieval train set-encoder" in caught.value.hint


def test_models_of_other_kinds_are_told(tmp_path: Path) -> None:
    """A language model, an encoder without a head, and a folder of nothing."""
    import transformers

    causal = write_tokenizer(tmp_path / "causal")
    config = transformers.GPT2Config(vocab_size=len(VOCABULARY), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    with quiet():
        transformers.GPT2LMHeadModel(config).save_pretrained(causal)
    bare = write_cross_encoder(tmp_path / "bare", kind="BertModel")
    (tmp_path / "empty").mkdir()
    for folder in (causal, bare, tmp_path / "empty"):
        with pytest.raises(ModelError) as caught:
            load_reranker(str(folder), device="cpu")
        assert caught.value.hint
