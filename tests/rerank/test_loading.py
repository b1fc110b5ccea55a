"""Whatever kind a reranker is of, its folder tells; lists of nothing, of one passage and of empty ones have scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from retrieval.encoders.models import quiet
from retrieval.errors import ModelError
from retrieval.rerank.loading import load_reranker
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
    assert reranker.settings["kind"] == ("set-encoder" if kind == "set-encoder" else "cross-encoder")


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
