"""SPLADE: a language model whose projection onto its vocabulary becomes a vector over that vocabulary."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from retrieval.encoders.layout import SIDES, Layout, Part, language_model, read_json, read_layout
from retrieval.encoders.models import model_name, snapshot
from retrieval.encoders.neural.echo import EchoSide
from retrieval.encoders.neural.side import Side, TableSide, auto, load_tokenizer, new_folder, write_json
from retrieval.encoders.tokens import table_weights
from retrieval.errors import InputError, ModelError

__all__ = ["NEVER", "SHIFT", "Splade"]

# A bias at which a column stays zero whatever the states are; float16 can hold it.
NEVER = -1e4
# Where GELU is the identity but for a 10^-8th; LayerNorm takes the shift away again.
SHIFT = 6.0


class Splade(nn.Module):
    """A learned-sparse encoder that can be trained; queries and documents may share one side or have their own.

    A side is a masked language model, a causal one that reads a text twice, or, of queries, a table of token weights.

    Source: Formal et al., SPLADE v2 (2021); for two sides Lassance and Clinchant, An efficiency study for SPLADE models
    (2022).
    """

    def __init__(
        self, document: Side, query: Side | TableSide | None = None, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__()
        self.document = document
        self.query = query
        self.name, self.revision = name, revision
        if query is not None and query.dimensions != document.dimensions:
            raise ModelError(
                f"model {name!r} has {query.dimensions} dimensions for queries and {document.dimensions} for documents"
            )

    @classmethod
    def load(
        cls, source: str, name: str | None = None, device: str | None = None, *, precision: str = "float32"
    ) -> Self:
        """Load `minilm`, a folder or a model of the hub, of transformers or of sentence-transformers, or ours.

        A causal language model becomes an echo.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: it cannot be found or read, has no masked-language-model head, or is no learned-sparse encoder.
        """
        name = name or model_name(source)
        return cls.of(read_layout(source, name), name, device, precision=precision)

    @classmethod
    def of(cls, layout: Layout, name: str, device: str | None = None, *, precision: str = "float32") -> Self:
        """Load the parts of a folder that was read."""
        document = _load_side(layout.document, name, layout.prompts.get("document", ""), precision)
        prompt = layout.prompts.get("query", "")
        query: Side | TableSide | None = None
        if layout.query.kind == "table":
            query = _load_table(layout.query, name, prompt, document.dimensions)
        elif layout.query == layout.document and not layout.is_one:
            # One model with two prompts.
            query = copy.copy(document)
            query.prompt = prompt
        elif not layout.is_one:
            query = _load_side(layout.query, name, prompt, precision)
        return cls(document, query, name=name, revision=layout.revision).to(device)

    @classmethod
    def from_encoder(
        cls, source: str, name: str | None = None, device: str | None = None, *, bias: float = 0.0
    ) -> Self:
        """Make one of an encoder without a language-model head, such as `minilm`; it needs training to be of use.

        The head is that of its architecture, with a projection tied to the input embeddings and a transform near the
        identity, and depends on nothing random. A bias of -10^4 keeps special tokens out for others who load it.

        Args:
            source: what to load.
            name: what to call it.
            device: torch's name of a device.
            bias: of every other token at the start; below zero, training starts from sparser vectors.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: the model cannot be found or read, has a head already, or is of an architecture without one.
        """
        name = name or model_name(source)
        folder, revision = snapshot(source)
        model, missing = auto("AutoModelForMaskedLM", folder, name, "float32")
        if not missing:
            raise ModelError(f"model {name!r} has a language-model head already", hint="train it as it is")
        tokenizer = load_tokenizer(folder, name)
        limit = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        side = Side(model, tokenizer, language_model(folder, name, max_length=limit), name=name)
        _near_identity(model, missing)
        if missing and side.headless.bias is not None:
            with torch.no_grad():
                side.headless.bias.fill_(bias).masked_fill_(side.special, NEVER)
        return cls(side, name=name, revision=revision).to(device)

    @property
    def sides(self) -> dict[str, Side | TableSide]:
        """What encodes queries and what documents; it may be the same."""
        return {"query": self.query or self.document, "document": self.document}

    @property
    def max_length(self) -> int:
        """Tokens of a document that are read."""
        return self.document.max_length

    @max_length.setter
    def max_length(self, tokens: int) -> None:
        self.document.max_length = tokens

    @property
    def dimensions(self) -> int:
        """Size of the vocabulary."""
        return self.document.dimensions

    @property
    def tokenizer(self) -> Any:
        """Of documents."""
        return self.document.tokenizer

    def tokenize(self, texts: Sequence[str], side: str = "document") -> dict[str, Tensor]:
        """What `forward` reads, on the CPU: token ids (n, length) and masks of that shape."""
        return self._side(side).tokenize(texts)

    def forward(self, features: Mapping[str, Tensor], side: str | None = None) -> Tensor:
        """(n, V) weights, differentiable; `side` must be named where queries and documents have their own.

        Raises:
            InputError: there is no such side, or none is named and there are two.
        """
        if side is None and self.query is not None:
            raise InputError("queries and documents have models of their own", hint="name the side")
        weights: Tensor = self._side(side or "document")(features)
        return weights

    def with_lora(self, r: int = 16, alpha: int = 8, dropout: float = 0.1) -> Self:
        """This model, an echo, frozen but for new low-rank adapters; what is saved then is the adapters.

        Source: Hu et al., LoRA (2021); sizes of Doshi et al., Mistral-SPLADE (2024).

        Raises:
            InputError: it is no echo, or has adapters.
            MissingExtraError: peft is not installed.
        """
        if not isinstance(self.document, EchoSide):
            raise InputError(f"model {self.name!r} is no causal language model", hint="train it whole")
        self.document.add_lora(r, alpha, dropout)
        return self

    def with_query_table(self, weights: Mapping[str, float], *, frozen: bool = True) -> Self:
        """This model with queries encoded by a table of token weights; what it does not name weighs nothing.

        Raises:
            InputError: a token is not of this vocabulary, or it is an echo.
        """
        if isinstance(self.document, EchoSide):
            raise InputError("a table of query weights goes with a masked language model")
        table, numbers = torch.zeros(self.dimensions), self.tokenizer.get_vocab()
        for token, weight in weights.items():
            if token not in numbers:
                raise InputError(f"{token!r} is no token of model {self.name!r}")
            table[numbers[token]] = weight
        part = Part(kind="table", folder=self.document.part.folder, max_length=self.max_length)
        self.query = TableSide(self.tokenizer, table, part=part, frozen=frozen).to(self.document.special.device)
        return self

    def _side(self, name: str) -> Side | TableSide:
        if name not in SIDES:
            raise InputError(f"no side {name!r}", hint=f"name one of {', '.join(SIDES)}")
        return self.sides[name]

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` reads, and sentence-transformers' SparseEncoder if it is no echo; in safetensors.

        Raises:
            InputError: something stands there already.
        """
        folder = new_folder(folder)
        if isinstance(self.document, EchoSide):
            self.document.save(folder)
        else:
            _save_composed(self, folder)


_MODULES = "sentence_transformers.sparse_encoder.models"
_TYPES = {name: f"{_MODULES}.{name}" for name in ("MLMTransformer", "SpladePooling", "SparseStaticEmbedding", "Router")}


def _save_composed(model: Splade, folder: Path) -> None:
    """In the names that all versions of sentence-transformers with sparse models know."""
    prompts = {name: side.prompt for name, side in model.sides.items()}
    described = {"model_type": "SparseEncoder", "prompts": prompts, "similarity_fn_name": "dot"}
    write_json(folder / "config_sentence_transformers.json", described)
    if model.query is None or _are_one(model.query, model.document):
        modules = _save_side(model.document, folder, folder / "1_SpladePooling")
        paths = ["", "1_SpladePooling"]
    else:
        modules, paths = ["Router"], [""]
        _save_router(model, folder)
    listed = zip(modules, paths, strict=True)
    write_json(
        folder / "modules.json",
        [{"idx": i, "name": str(i), "path": path, "type": _TYPES[kind]} for i, (kind, path) in enumerate(listed)],
    )


def _are_one(query: Side | TableSide, document: Side) -> bool:
    """Whether both are the same model, read alike; prompts may differ."""
    return isinstance(query, Side) and query.headless is document.headless and query.part == document.part


def _save_router(model: Splade, folder: Path) -> None:
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for name, side in model.sides.items():
        kinds = _save_side(side, folder / f"{name}_0", folder / f"{name}_1")
        structure[name] = [f"{name}_{i}" for i in range(len(kinds))]
        types |= {module: _TYPES[kind] for module, kind in zip(structure[name], kinds, strict=True)}
    parameters = {"default_route": "document", "allow_empty_key": True}
    write_json(folder / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})


def _save_side(side: Side | TableSide, folder: Path, pooling: Path) -> list[str]:
    """Write the modules of one side, and say what they are."""
    folder.mkdir(exist_ok=True)
    side.save(folder)
    if isinstance(side, TableSide):
        return ["SparseStaticEmbedding"]
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": side.max_length, "do_lower_case": False})
    pooling.mkdir()
    described = {"pooling_strategy": side.part.pooling, "activation_function": side.part.activation}
    write_json(pooling / "config.json", described)
    return ["MLMTransformer", "SpladePooling"]


def _load_side(part: Part, name: str, prompt: str, precision: str) -> Side:
    if part.kind == "table":
        raise ModelError(f"model {name!r} encodes documents by a table", hint="a language model must encode documents")
    kind = EchoSide if part.kind == "echo" else Side
    return kind.load(part, name=name, prompt=prompt, precision=precision)


def _load_table(part: Part, name: str, prompt: str, dimensions: int) -> TableSide:
    tokenizer = load_tokenizer(part.folder, name)
    weights = table_weights(part, name, tokenizer.get_vocab(), dimensions)
    frozen = read_json(part.folder / "config.json").get("frozen", True)
    return TableSide(tokenizer, torch.from_numpy(weights), part=part, frozen=frozen, prompt=prompt)


@torch.no_grad()
def _near_identity(model: Any, missing: set[str]) -> None:
    """Set what a head lacks: square maps become the identity, shifted to where GELU is linear."""
    for name, module in model.named_modules():
        is_square = isinstance(module, nn.Linear) and module.in_features == module.out_features
        if is_square and f"{name}.weight" in missing:
            nn.init.eye_(module.weight)
            nn.init.constant_(module.bias, SHIFT)
