"""monoT5: a T5 that is asked whether a passage is relevant to a query, and answers true or false."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from retrieval.encoders.layout import read_json, token_limit
from retrieval.encoders.models import model_name, snapshot
from retrieval.encoders.neural.side import auto, load_tokenizer
from retrieval.errors import InputError, ModelError
from retrieval.rerank.neural.pairs import Pair, in_float32, in_sums, in_windows, rows_of

__all__ = ["MonoT5", "is_mono_t5"]

_KIND = "T5ForConditionalGeneration"
_WANTED = "a T5 that was trained to answer true or false"
# What stands in front of the query, between query and passage, and behind the passage.
_PROMPT = ("Query:", "Document:", "Relevant:")
_ANSWERS = ("false", "true")
# As the tokens of words begin.
_SPACE = "▁"
# A query and a passage have at least one token each.
_LEAST = 2


class MonoT5(nn.Module):
    """A T5 that reads `Query: q Document: d Relevant:`; the score is the log of its probability of true over false.

    Of the rows of its output, one for each word, those of the two answers are kept. Which T5 was trained to answer so
    its folder does not tell.

    Source: Nogueira et al., Document ranking with a pretrained sequence-to-sequence model (2020).

    Args:
        model: of transformers.
        tokenizer: of transformers.
        name: what errors call it.
        max_length: tokens that are read, those of the prompt included.
        revision: of the hub, where it comes from there.

    Raises:
        InputError: `max_length` leaves no room for a query and a passage.
        ModelError: the tokenizer has no token for an answer, or one that the model does not know.
    """

    kind: ClassVar = "mono-t5"
    """What results call it."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, max_length: int, revision: str | None = None) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name, self.revision = model, tokenizer, name, revision
        answers = [_answer(tokenizer, word, model.lm_head.out_features, name) for word in _ANSWERS]
        kept = nn.Linear(model.lm_head.in_features, len(answers), bias=False)
        with torch.no_grad():
            kept.weight.copy_(model.lm_head.weight[answers])
        model.lm_head = kept
        self._prompt = self._ids(_PROMPT)
        self._end = [int(tokenizer.eos_token_id)] if tokenizer.eos_token_id is not None else []
        self._marks = sum(map(len, self._prompt)) + len(self._end)
        self.max_length = max_length

    @classmethod
    def load(cls, source: str, name: str | None = None, device: str | None = None) -> Self:
        """Load a folder or a model of the hub.

        Args:
            source: what to load.
            name: what to call it.
            device: torch's name of a device.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: it cannot be found or read, is no T5 or not whole, or has no tokenizer or that of another model.
        """
        name = name or model_name(source)
        folder, revision = snapshot(source)
        if not is_mono_t5(folder):
            raise ModelError(f"model {name!r} is no T5", hint=f"name {_WANTED}")
        model, missing = auto(_KIND, folder, name, "float32", wanted=_WANTED)
        if missing:
            raise ModelError(f"model {name!r} is not whole: {', '.join(sorted(missing)[:3])} are not in it")
        limit = token_limit(model.config.to_dict(), read_json(folder / "tokenizer_config.json"))
        return cls(model, load_tokenizer(folder, name), name=name, max_length=limit, revision=revision).to(device)

    @property
    def max_length(self) -> int:
        """Tokens that are read, those of the prompt included."""
        return self._max_length

    @max_length.setter
    def max_length(self, tokens: int) -> None:
        if tokens < self._marks + _LEAST:
            raise InputError(f"model {self.name!r} reads at least {self._marks + _LEAST} tokens; got {tokens}")
        self._max_length = tokens

    def set_precision(self, precision: str) -> Self:
        """Compute in `float32`, `bfloat16` or `float16` from now on, but in float32 in the last step."""
        self.model.to(getattr(torch, precision))
        in_float32(self.model.lm_head)
        return self

    @property
    def once(self) -> list[str]:
        """Names of layers that are run once for a pair, and not for each token: exactness is cheap there."""
        return ["lm_head"]

    def tokenize(self, pairs: Sequence[Pair], max_length: int | None = None) -> dict[str, Tensor]:
        """What `forward` reads, on the CPU: token ids (n, length) and a mask.

        The passage is cut, and the prompt never; of a query that leaves no room for the passage, too, what is beyond
        half of the room.

        Args:
            pairs: query and passage of each.
            max_length: tokens that are read, where they are to be fewer.

        Raises:
            InputError: too few for a pair.
        """
        limit = self.max_length if max_length is None else min(max_length, self.max_length)
        room = limit - self._marks
        if room < _LEAST:
            raise InputError(f"a pair has at least {self._marks + _LEAST} tokens; {limit} are too few")
        asked = list(dict.fromkeys(query for query, _ in pairs))
        queries = dict(zip(asked, self._ids(asked), strict=True))
        passages = self._ids([passage for _, passage in pairs])
        rows = [
            self._row(*_cut(queries[query], passage, room)) for (query, _), passage in zip(pairs, passages, strict=True)
        ]
        return {
            "input_ids": rows_of(rows, int(self.tokenizer.pad_token_id or 0)),
            "attention_mask": rows_of([[1] * len(row) for row in rows]),
        }

    def windows(self, pairs: Sequence[Pair]) -> list[list[str]]:
        """The passage of each pair in pieces that the model reads whole beside the query, see `in_windows`."""
        return in_windows(self.tokenizer, pairs, self.max_length - self._marks)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(n,) float32 scores, none above zero."""
        tokens = features["input_ids"]
        start = torch.full_like(tokens[:, :1], self.model.config.decoder_start_token_id)
        given = {"input_ids": tokens, "attention_mask": features["attention_mask"], "decoder_input_ids": start}
        with in_sums(self.model):
            logits = self.model(**given, use_cache=False).logits.float()[:, 0]
        return nn.functional.logsigmoid(logits[:, 1] - logits[:, 0])

    def _row(self, query: Sequence[int], passage: Sequence[int]) -> list[int]:
        before, between, behind = self._prompt
        return [*before, *query, *between, *passage, *behind, *self._end]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; a word's tokens do not depend on what stands beside it."""
        if not texts:
            return []
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return found


def is_mono_t5(folder: Path) -> bool:
    """Whether a folder says that it holds a T5 that answers."""
    return _KIND in (read_json(folder / "config.json").get("architectures") or [])


def _answer(tokenizer: Any, word: str, words: int, name: str) -> int:
    """The number of the token of an answer."""
    vocabulary = tokenizer.get_vocab()
    number = vocabulary.get(_SPACE + word, vocabulary.get(word))
    if number is None or number >= words:
        raise ModelError(f"model {name!r} has no token for {word!r}, which it is to answer", hint=f"name {_WANTED}")
    return int(number)


def _cut(query: Sequence[int], passage: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """As much of both as there is room for."""
    if len(query) >= room:
        query = query[: max(room - len(passage), room // 2)]
    return query, passage[: room - len(query)]
