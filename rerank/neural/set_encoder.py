"""The set-encoder: a cross-encoder that reads the passages of a query side by side, each with an eye on the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from retrieval.encoders.layout import is_classifier, token_limit
from retrieval.encoders.models import model_name, snapshot
from retrieval.encoders.neural.side import new_folder
from retrieval.errors import InputError, ModelError
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from retrieval.rerank.neural.interaction import LayerBodies, States, set_states
from retrieval.rerank.neural.novelty import NoveltyHead
from retrieval.rerank.neural.pairs import in_sums, rows_of
from retrieval.rerank.neural.set_beginning import add_mark, linear_head
from retrieval.rerank.neural.set_layout import (
    BACKBONES,
    MARK,
    SetLayout,
    is_set_encoder,
    read_set_layout,
    write_set_layout,
)

__all__ = ["Member", "SetEncoder"]

Member = tuple[int, str, str]
"""The number of a set, its query, and one of its passages."""


class SetEncoder(nn.Module):
    """A BERT or an ELECTRA that scores the passages of a query together, and can be trained.

    A passage is read as `[CLS] [INT] query [SEP] passage [SEP]`. In every layer its tokens attend to each other and to
    the states of the other passages' [INT]; positions are counted anew in each passage, so that the order of a set
    changes no score. A passage alone is scored as by a cross-encoder to which [INT] is one more token. The score is
    linear in the last state of [CLS]; a model with a novelty head then takes off what others of the set say better, see
    `NoveltyHead`. The missing passages of a small set are not made up at random, as the paper's
    code does in training: scores depend on the given set alone.

    Source: Schlatt et al., "Set-Encoder: permutation-invariant inter-passage attention for listwise passage re-ranking
    with cross-encoders" (ECIR 2025).

    Args:
        backbone: of transformers.
        tokenizer: of transformers.
        name: what errors call it.
        bias: whether the score has one.
        has_mark: whether there is an [INT]; else [CLS] stands in for it, as in some models.
        query_length: tokens of a query that are read.
        document_length: tokens of a passage that are read, where the model has positions for all of them.
        revision: of the hub, where it comes from there.

    Attributes:
        is_unsettled: whether it has the head of a cross-encoder, and an [INT] that has learned nothing yet.

    Raises:
        InputError: lengths out of range.
        ModelError: it is of another kind, or tokenizer and model do not go together.
    """

    def __init__(
        self,
        backbone: Any,
        tokenizer: Any,
        *,
        name: str,
        bias: bool = False,
        has_mark: bool = True,
        query_length: int = 32,
        document_length: int = 256,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        kind = backbone.config.model_type
        if kind not in BACKBONES:
            raise ModelError(f"model {name!r} is of kind {kind!r}", hint=f"a set-encoder is {' or '.join(BACKBONES)}")
        self.backbone, self.tokenizer, self.name, self.revision = backbone, tokenizer, name, revision
        words = backbone.get_input_embeddings().num_embeddings
        self._before = [_token(tokenizer, "[CLS]", words, name)]
        self._before += [_token(tokenizer, MARK, words, name)] if has_mark else []
        self._end = _token(tokenizer, "[SEP]", words, name)
        self._padding = int(tokenizer.pad_token_id or 0)
        self.head = nn.Linear(backbone.config.hidden_size, 1, bias=bias)
        self.duplicate: nn.Linear | None = None
        self.novelty: NoveltyHead | None = None
        self.is_unsettled = False
        self._query_length, self._document_length = query_length, document_length
        self.set_lengths()

    @classmethod
    def load(
        cls, source: str, name: str | None = None, device: str | None = None, *, precision: str = "float32"
    ) -> Self:
        """Load a folder or a model of the hub, saved by lightning-ir or by `save`.

        Args:
            source: what to load.
            name: what to call it.
            device: torch's name of a device.
            precision: as of `set_precision`.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: it cannot be found or read, is not whole, or is no set-encoder.
        """
        name = name or model_name(source)
        folder, revision = snapshot(source)
        layout = read_set_layout(folder, name)
        made = cls(
            layout.backbone,
            layout.tokenizer,
            name=name,
            bias="linear.bias" in layout.heads,
            has_mark=layout.has_mark,
            query_length=layout.query_length,
            document_length=layout.document_length,
            revision=revision,
        )
        _set(made.head, layout.heads, "linear", name)
        for prefix, add in (("duplicate", made.add_duplicate_head), ("novelty", made.add_novelty_head)):
            if any(key.startswith(f"{prefix}.") for key in layout.heads):
                _set(add(), layout.heads, prefix, name)
        return made.set_precision(precision).to(device)

    @classmethod
    def from_encoder(
        cls,
        source: str,
        name: str | None = None,
        device: str | None = None,
        *,
        seed: int = 0,
        query_length: int = 32,
        document_length: int = 256,
    ) -> Self:
        """Give an encoder such as `minilm`, or the encoder of a cross-encoder, a head and an [INT]; it needs training.

        Of a BERT with the head of a cross-encoder the new head is that one without its tanh, so that passages alone are
        ordered much as before; any other is drawn at random.

        Args:
            source: what to load: what `CrossEncoder.load` or `CrossEncoder.from_encoder` reads.
            name: what to call it.
            device: torch's name of a device.
            seed: of the head, and of the embedding of [INT] where the vocabulary has no full stop to begin with.
            query_length: tokens of a query that are read.
            document_length: tokens of a passage that are read.

        Raises:
            InputError: lengths out of range.
            MissingExtraError: transformers is not installed.
            ModelError: the model cannot be found or read, lacks layers, is a set-encoder already, or of another kind.
        """
        name = name or model_name(source)
        if is_set_encoder(snapshot(source)[0]):
            raise ModelError(f"model {name!r} is a set-encoder already", hint="train it as it is")
        given = CrossEncoder.for_training(source, name)
        backbone, tokenizer = given.model.base_model, given.tokenizer
        known = linear_head(given.model) if is_classifier(source) else None
        backbone.pooler = None
        generator = torch.Generator().manual_seed(seed)
        is_new = add_mark(backbone, tokenizer, generator)
        made = cls(
            backbone,
            tokenizer,
            name=name,
            query_length=query_length,
            document_length=document_length,
            revision=given.revision,
        )
        _draw(made.head, generator, backbone.config.initializer_range)
        if known is not None:
            made.head.weight.data.copy_(known)
            made.is_unsettled = is_new
        return made.to(device)

    @classmethod
    def for_training(cls, source: str, device: str | None = None, *, seed: int = 0, query_length: int = 32) -> Self:
        """A set-encoder as `load` reads it; another encoder gets what it lacks, see `from_encoder`."""
        if is_set_encoder(snapshot(source)[0]):
            return cls.load(source, device=device)
        return cls.from_encoder(source, device=device, seed=seed, query_length=query_length)

    @property
    def has_mark(self) -> bool:
        """Whether there is an [INT]."""
        return len(self._before) > 1

    @property
    def mark(self) -> int:
        """The number of the token whose states the other passages see: [INT], or [CLS]."""
        return self._before[-1]

    @property
    def query_length(self) -> int:
        """Tokens of a query that are read."""
        return self._query_length

    @property
    def document_length(self) -> int:
        """Tokens of a passage that are read, where there are positions for all of them."""
        return self._document_length

    @property
    def max_length(self) -> int:
        """Tokens of query and passage that are read, those that mark their parts included."""
        return min(self._marks + self._query_length + self._document_length, self._positions)

    def set_lengths(self, query: int | None = None, document: int | None = None) -> Self:
        """Read other numbers of tokens from now on.

        Raises:
            InputError: less than one, or a query that leaves no position for a passage.
        """
        query = self._query_length if query is None else query
        document = self._document_length if document is None else document
        room = self._positions - self._marks - 1
        if not 1 <= query <= room or document < 1:
            raise InputError(
                f"model {self.name!r} reads 1 to {room} tokens of a query and at least 1 of a passage; "
                f"got {query} and {document}"
            )
        self._query_length, self._document_length = query, document
        return self

    def set_precision(self, precision: str) -> Self:
        """Compute in `float32`, `bfloat16` or `float16` from now on, but in float32 in the heads, as `CrossEncoder`."""
        self.backbone.to(getattr(torch, precision))
        return self

    def add_duplicate_head(self, seed: int = 0) -> nn.Linear:
        """The head that says whether a passage stands in its set twice; made if it is not there."""
        if self.duplicate is None:
            self.duplicate = nn.Linear(self.backbone.config.hidden_size, 1)
            _draw(self.duplicate, torch.Generator().manual_seed(seed), self.backbone.config.initializer_range)
            self.duplicate.to(self.head.weight.device)
        return self.duplicate

    def add_novelty_head(self, seed: int = 0) -> NoveltyHead:
        """The head that takes off a score what others of the set say better; made if it is not there.

        Raises:
            ModelError: the model has one layer, and so no state that others see and that knows of its passage.
        """
        if self.backbone.config.num_hidden_layers < 2:
            raise ModelError(f"model {self.name!r} has one layer; a novelty head needs two at least")
        if self.novelty is None:
            self.novelty = NoveltyHead(self.backbone.config.hidden_size, torch.Generator().manual_seed(seed))
            self.novelty.to(self.head.weight.device)
        return self.novelty

    def tokenize(self, query: str, passages: Sequence[str]) -> dict[str, Tensor]:
        """What `forward` reads, of one set, see `tokenize_members`."""
        return self.tokenize_members([(0, query, passage) for passage in passages])

    def tokenize_members(self, members: Sequence[Member], max_length: int | None = None) -> dict[str, Tensor]:
        """The same of passages of several sets, on the CPU, in their order, padded to the longest.

        A query is cut at its limit; of what is too long together the passage is cut.

        Args:
            members: any number of each set, in any order.
            max_length: tokens of query and passage together that are read, where they are to be fewer.

        Returns:
            `input_ids`, `attention_mask` and `token_type_ids` (n, length), and `sets` (n,), the sets' numbers.

        Raises:
            InputError: `max_length` is too little for a token of each.
        """
        limit = self.max_length if max_length is None else min(max_length, self.max_length)
        room = limit - self._marks
        if room < 2:
            raise InputError(f"a query and a passage have at least {self._marks + 2} tokens; {limit} are too few")
        asked = list(dict.fromkeys(query for _, query, _ in members))
        queries = dict(zip(asked, self._tokens(asked, min(self._query_length, room - 1)), strict=True))
        passages = self._tokens([passage for _, _, passage in members], min(self._document_length, room - 1))
        heads = [[*self._before, *queries[query], self._end] for _, query, _ in members]
        tails = [[*passage[: limit - len(head) - 1], self._end] for head, passage in zip(heads, passages, strict=True)]
        return {
            "input_ids": rows_of([[*head, *tail] for head, tail in zip(heads, tails, strict=True)], self._padding),
            "attention_mask": rows_of([[1] * (len(head) + len(tail)) for head, tail in zip(heads, tails, strict=True)]),
            "token_type_ids": rows_of(
                [[0] * len(head) + [1] * len(tail) for head, tail in zip(heads, tails, strict=True)]
            ),
            "sets": torch.tensor([number for number, _, _ in members], dtype=torch.int64),
        }

    def forward(self, *blocks: Mapping[str, Tensor], layers: Sequence[LayerBodies] | None = None) -> Tensor:
        """(n,) float32 scores of the passages of all blocks, differentiable; they may be any number.

        A set may be spread over several blocks, and other runtimes may run the layers, see `set_states`.
        """
        states = self.states(*blocks, layers=layers)
        scores = self.scores(states.first)
        if self.novelty is None or not len(scores):
            return scores
        found: Tensor = self.novelty(states.seen, scores, torch.cat([block["sets"] for block in blocks]))
        return found

    def states(self, *blocks: Mapping[str, Tensor], layers: Sequence[LayerBodies] | None = None) -> States:
        """The states of the passages of all blocks; `scores` of the first ones are those without a novelty head."""
        given = [block for block in blocks if len(block["sets"])]
        if not given:
            nothing = self.head.weight.new_zeros((0, self.head.in_features))
            return States(nothing, nothing)
        return set_states(self.backbone, given, len(self._before) - 1, layers)

    def scores(self, states: Tensor) -> Tensor:
        """(n,) float32, of states (n, H)."""
        with in_sums(self):
            found: Tensor = self.head(states)
        return found[:, 0].float()

    def duplicates(self, states: Tensor) -> Tensor:
        """(n,) float32, the log-odds that a passage stands in its set twice, of states (n, H).

        Raises:
            ModelError: the model was not trained to tell.
        """
        if self.duplicate is None:
            raise ModelError(f"model {self.name!r} was not trained to notice duplicates")
        with in_sums(self):
            found: Tensor = self.duplicate(states)
        return found[:, 0].float()

    def save(self, folder: str | Path) -> None:
        """Write what `load` and lightning-ir read, which passes over a novelty head; in safetensors.

        Raises:
            InputError: something stands there already.
        """
        folder = new_folder(folder)
        known = {"linear": self.head, "duplicate": self.duplicate, "novelty": self.novelty}
        heads = {
            f"{prefix}.{name}": values
            for prefix, head in known.items()
            if head is not None
            for name, values in head.state_dict().items()
        }
        layout = SetLayout(
            backbone=self.backbone,
            tokenizer=self.tokenizer,
            heads=heads,
            has_mark=self.has_mark,
            query_length=self.query_length,
            document_length=self.document_length,
        )
        write_set_layout(folder, layout)

    @property
    def _marks(self) -> int:
        return len(self._before) + 2

    @property
    def _positions(self) -> int:
        return token_limit(self.backbone.config.to_dict(), {})

    def _tokens(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=limit
        )["input_ids"]
        return found


def _token(tokenizer: Any, token: str, words: int, name: str) -> int:
    """The number of a token that a set-encoder needs."""
    number = tokenizer.get_vocab().get(token)
    if number is None or number >= words:
        raise ModelError(
            f"model {name!r} has no token {token}: its tokenizer is that of another model",
            hint="put its own tokenizer beside it",
        )
    return int(number)


@torch.no_grad()
def _draw(head: nn.Linear, generator: torch.Generator, spread: float) -> None:
    head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * spread)
    if head.bias is not None:
        head.bias.zero_()


def _set(head: nn.Module, weights: Mapping[str, Tensor], prefix: str, name: str) -> None:
    """Give a head its weights, which must fit."""
    own = {key.removeprefix(f"{prefix}."): values for key, values in weights.items() if key.startswith(f"{prefix}.")}
    try:
        head.load_state_dict(own)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"model {name!r} is not whole: its head {prefix!r} does not fit ({reason})") from error
