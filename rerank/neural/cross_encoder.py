"""The cross-encoder: one model reads query and passage together, and its head says how well they go together."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from retrieval.encoders.layout import is_classifier, read_json, token_limit
from retrieval.encoders.models import model_name, quiet, snapshot
from retrieval.encoders.neural.side import auto, load_tokenizer, new_folder
from retrieval.errors import InputError, ModelError
from retrieval.rerank.neural.pairs import Pair, in_float32, in_sums, in_windows
from retrieval.rerank.neural.set_layout import is_set_encoder

__all__ = ["CrossEncoder"]

_KIND = "AutoModelForSequenceClassification"
_WANTED = "a sequence-classification model of one label or two"
_HEADLESS = "name a cross-encoder; retrieval train cross-encoder makes one of an encoder"
# How sentence-transformers calls what it applies to a score; of ours nothing, so that large ones do not tie at 1.
_NO_ACTIVATION = "torch.nn.modules.linear.Identity"
# A query and a passage have at least one token each.
_LEAST = 2


class CrossEncoder(nn.Module):
    """A sequence-classification model of pairs of query and passage that can be trained.

    With one label the score is its logit, with two the log-odds of the second: log p(relevant) - log p(not).

    Source: Nogueira and Cho, Passage re-ranking with BERT (2019).

    Args:
        model: of transformers, with one label or two.
        tokenizer: of transformers.
        name: what errors call it.
        max_length: tokens of a pair that are read, those that mark its parts included.
        revision: of the hub, where it comes from there.

    Raises:
        ModelError: there are more labels, the tokenizer knows tokens that the model does not, or it cannot pad.
    """

    kind: ClassVar = "cross-encoder"
    """What results call it."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, max_length: int, revision: str | None = None) -> None:
        super().__init__()
        _check(model, tokenizer, name)
        self.model, self.tokenizer, self.name, self.revision = model, tokenizer, name, revision
        self._marks = int(tokenizer.num_special_tokens_to_add(pair=True))
        self.max_length = max_length
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id

    @classmethod
    def load(
        cls, source: str, name: str | None = None, device: str | None = None, *, precision: str = "float32"
    ) -> Self:
        """Load a folder or a model of the hub, of transformers or of sentence-transformers.

        Args:
            source: what to load.
            name: what to call it.
            device: torch's name of a device.
            precision: as of `set_precision`.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: it cannot be found or read, has no classification head or one of more than two labels, no
                tokenizer or that of another model, or is of another kind.
        """
        name = name or model_name(source)
        folder, revision = snapshot(source)
        _refuse_set_encoder(folder, name)
        kinds = _modules(folder)
        if kinds and kinds != [("Transformer", "")]:
            made_of = ", ".join(kind for kind, _ in kinds)
            raise ModelError(f"model {name!r} is no cross-encoder: it is made of {made_of}", hint=_HEADLESS)
        described = read_json(folder / "config_sentence_transformers.json")
        if described.get("default_prompt_name"):
            raise ModelError(f"model {name!r} wants a prompt before its pairs", hint="name a model without one")
        model, missing = auto(_KIND, folder, name, "float32", wanted=_WANTED)
        if missing:
            raise ModelError(
                f"model {name!r} has no classification head: {', '.join(sorted(missing)[:3])} are not in it",
                hint=_HEADLESS,
            )
        if activation := described.get("activation_fn"):
            model.config.sentence_transformers = {"activation_fn": activation}
        made = cls(
            model, load_tokenizer(folder, name), name=name, max_length=_max_length(folder, model), revision=revision
        )
        return made.set_precision(precision).to(device)

    @classmethod
    def from_encoder(
        cls,
        source: str,
        name: str | None = None,
        device: str | None = None,
        *,
        seed: int = 0,
        max_length: int | None = None,
    ) -> Self:
        """Give an encoder such as `minilm` a head of one label; it needs training to be of use.

        The head is that of its architecture, drawn at random as transformers draws it; it depends on the seed alone.

        Args:
            source: what to load: of transformers, or a SentenceTransformer, whose first module is taken.
            name: what to call it.
            device: torch's name of a device.
            seed: of the head.
            max_length: tokens of a pair that are read; None takes what the encoder read of a text.

        Raises:
            InputError: `max_length` is more than the encoder has positions, or too few for a pair.
            MissingExtraError: transformers is not installed.
            ModelError: the model cannot be found or read, lacks layers, or has a classification head.
        """
        name = name or model_name(source)
        folder, revision = snapshot(source)
        _refuse_set_encoder(folder, name)
        kinds = _modules(folder) or [("Transformer", "")]
        if kinds[0][0] != "Transformer":
            raise ModelError(f"model {name!r} begins with no transformer", hint=f"name {_WANTED}, or an encoder")
        folder /= kinds[0][1]
        model, missing = auto(_KIND, folder, name, "float32", wanted="an encoder", num_labels=1)
        if not missing:
            raise ModelError(f"model {name!r} has a classification head already", hint="train it as it is")
        body = f"{model.base_model_prefix}."
        if lacking := [part for part in sorted(missing) if part.startswith(body) and "pooler" not in part]:
            raise ModelError(f"model {name!r} is not whole: {', '.join(lacking[:3])} are not in it")
        _draw(model, missing, seed)
        model.config.sentence_transformers = {"activation_fn": _NO_ACTIVATION}
        limit = _max_length(folder, model)
        made = cls(model, load_tokenizer(folder, name), name=name, max_length=limit, revision=revision)
        if max_length is not None:
            made.max_length = max_length
        return made.to(device)

    @classmethod
    def for_training(cls, source: str, name: str | None = None, device: str | None = None, *, seed: int = 0) -> Self:
        """A cross-encoder as `load` reads it; an encoder that is none gets a new head, see `from_encoder`."""
        if is_classifier(source):
            return cls.load(source, name, device)
        return cls.from_encoder(source, name, device, seed=seed)

    @property
    def max_length(self) -> int:
        """Tokens of a pair that are read."""
        return self._max_length

    @max_length.setter
    def max_length(self, tokens: int) -> None:
        positions = token_limit(self.model.config.to_dict(), {})
        if not self._marks + _LEAST <= tokens <= positions:
            raise InputError(
                f"model {self.name!r} reads {self._marks + _LEAST} to {positions} tokens of a pair; got {tokens}"
            )
        self._max_length = tokens

    def set_precision(self, precision: str) -> Self:
        """Compute in `float32`, `bfloat16` or `float16` from now on, but in float32 in the head.

        It costs little there, and in bfloat16 a score would have eight bits, in which passages tie.
        """
        dtype = getattr(torch, precision)
        self.model.to(dtype)
        if dtype != torch.float32:
            for name in self._head:
                in_float32(self.model.get_submodule(name))
        return self

    @property
    def once(self) -> list[str]:
        """Names of layers that are run once for a pair, and not for each token: exactness is cheap there."""
        return ["pooler", *self._head]

    @property
    def _head(self) -> list[str]:
        return [name for name, _ in self.model.named_children() if name != self.model.base_model_prefix]

    def tokenize(self, pairs: Sequence[Pair], max_length: int | None = None) -> dict[str, Tensor]:
        """What `forward` reads, on the CPU: token ids (n, length), a mask and whatever else of that shape.

        Only the passage is cut, unless a query leaves no room for any of it: then the two share the room.

        Args:
            pairs: query and passage of each.
            max_length: tokens of a pair that are read, where they are to be fewer.

        Raises:
            InputError: too few for a pair.
        """
        limit = self.max_length if max_length is None else min(max_length, self.max_length)
        room = limit - self._marks
        if room < _LEAST:
            raise InputError(f"a pair has at least {self._marks + _LEAST} tokens; {limit} are too few")
        long = self._long({query for query, _ in pairs}, room)
        if not long:
            return self._tokens(pairs, limit, truncation="only_second", padding=True)
        cut = [place for place, (query, _) in enumerate(pairs) if query in long]
        rest = [place for place, (query, _) in enumerate(pairs) if query not in long]
        parts = [
            self._tokens([pairs[place] for place in places], limit, truncation=truncation, padding="max_length")
            for places, truncation in ((cut, "longest_first"), (rest, "only_second"))
            if places
        ]
        order = torch.tensor([*cut, *rest]).argsort()
        return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}

    def windows(self, pairs: Sequence[Pair]) -> list[list[str]]:
        """The passage of each pair in pieces that the model reads whole beside the query, see `in_windows`."""
        return in_windows(self.tokenizer, pairs, self.max_length - self._marks)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(n,) float32 scores, differentiable; they may be any number."""
        with in_sums(self.model):
            logits: Tensor = self.model(**features).logits.float()
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

    def save(self, folder: str | Path) -> None:
        """Write what `load`, sentence-transformers' CrossEncoder and transformers read; in safetensors.

        Raises:
            InputError: something stands there already.
        """
        folder = new_folder(folder)
        self.tokenizer.model_max_length = self.max_length
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def _long(self, queries: set[str], room: int) -> set[str]:
        """Those that fill the room alone."""
        given = list(queries)
        if not given:
            return set()
        found = self.tokenizer(given, add_special_tokens=False, truncation=True, max_length=room)["input_ids"]
        return {query for query, tokens in zip(given, found, strict=True) if len(tokens) >= room}

    def _tokens(self, pairs: Sequence[Pair], limit: int, **how: Any) -> dict[str, Tensor]:
        queries, passages = [query for query, _ in pairs], [passage for _, passage in pairs]
        return dict(self.tokenizer(queries, passages, max_length=limit, return_tensors="pt", **how))


def _check(model: Any, tokenizer: Any, name: str) -> None:
    """An error if these are no cross-encoder together."""
    labels, words = model.config.num_labels, model.get_input_embeddings().num_embeddings
    if labels not in (1, 2):
        raise ModelError(
            f"model {name!r} tells {labels} labels apart: none of them is the score", hint=f"name {_WANTED}"
        )
    last = max(tokenizer.get_vocab().values())
    if last >= words:
        raise ModelError(
            f"model {name!r} knows {words} tokens, and its tokenizer {last + 1}: it is that of another model",
            hint="put its own tokenizer beside it",
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"model {name!r} has no token for padding", hint="name one: pad_token in its tokenizer")


def _refuse_set_encoder(folder: Path, name: str) -> None:
    if is_set_encoder(folder):
        raise ModelError(
            f"model {name!r} is a set-encoder, and no cross-encoder",
            hint="SetScorer runs it, load_reranker takes either kind, and retrieval train set-encoder trains it",
        )


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Class and place of each module of a folder of sentence-transformers; none if it is another folder."""
    path = folder / "modules.json"
    modules = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    in_order = sorted(modules, key=lambda module: module["idx"])
    return [(module["type"].rpartition(".")[2], module["path"]) for module in in_order]


def _max_length(folder: Path, model: Any) -> int:
    """What the folder says; else as much as both model and tokenizer can handle."""
    positions = token_limit(model.config.to_dict(), read_json(folder / "tokenizer_config.json"))
    return min(read_json(folder / "sentence_bert_config.json").get("max_seq_length") or positions, positions)


@torch.no_grad()
def _draw(model: Any, missing: set[str], seed: int) -> None:
    """Set the parameters that a folder did not have, in the order of their names."""
    generator = torch.Generator().manual_seed(seed)
    spread = getattr(model.config, "initializer_range", None) or 0.02
    for name, parameter in sorted(model.named_parameters()):
        if name in missing:
            drawn = torch.randn(parameter.shape, generator=generator) * spread
            scale = torch.full_like(drawn, float(name.endswith("weight")))
            parameter.copy_(scale if parameter.ndim == 1 else drawn)
