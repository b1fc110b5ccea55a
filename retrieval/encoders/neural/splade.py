"""SPLADE: a masked language model whose vocabulary projection becomes a vector over that vocabulary."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from retrieval.encoders.layout import SIDES, Part, read_layout
from retrieval.encoders.models import model_name, quiet, snapshot
from retrieval.encoders.neural.headless import Headless
from retrieval.encoders.neural.pooling import splade_pool, splade_sum
from retrieval.errors import InputError, MissingExtraError, ModelError

__all__ = ["Side", "Splade"]

# A bias at which a column stays zero whatever the states are; float16 can hold it.
_NEVER = -1e4
# Where GELU is the identity but for a 10^-8th; LayerNorm takes the shift away again.
_SHIFT = 6.0


class Side(nn.Module):
    """What encodes one side: a language model without its last step, its tokenizer, and how tokens become one vector.

    Columns of special tokens are zero in every vector. All tokens of a text are pooled, the special ones too, as in the
    published models.
    """

    special: Tensor

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        max_length: int | None = None,
        pooling: str = "max",
        activation: str = "relu",
        prompt: str = "",
    ) -> None:
        super().__init__()
        self.name = name
        self.headless = Headless(model, name)
        self.tokenizer = tokenizer
        self.max_length = max_length or _max_length(model, tokenizer)
        self.pooling, self.activation, self.prompt = pooling, activation, prompt
        width = len(self.headless.weight)
        special = torch.zeros(width, dtype=torch.bool)
        special[[token for token in tokenizer.all_special_ids if token < width]] = True
        self.register_buffer("special", special, persistent=False)

    @property
    def dimensions(self) -> int:
        """Size of the vocabulary."""
        return len(self.special)

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids (n, length) and an attention mask, padded to the longest text, which is cut at `max_length`."""
        features = self.tokenizer(
            [self.prompt + text for text in texts],
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        return dict(features)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(n, V) weights, none below zero; `pooled` (n, length), where it is given, says which tokens count."""
        pooled = features.get("pooled", features["attention_mask"]).bool()
        states = self.headless({name: values for name, values in features.items() if name != "pooled"})
        texts = pooled.nonzero()[:, 0]
        bias = self.headless.bias
        bias = (torch.zeros_like(self.special, dtype=states.dtype) if bias is None else bias).masked_fill(
            self.special, -torch.inf
        )
        given = (states[pooled], texts, len(pooled), self.headless.weight, bias)
        twice = self.activation == "log1p_relu"
        if self.pooling == "sum":
            return splade_sum(*given, twice=twice)
        weights = splade_pool(*given)
        return torch.log1p(weights) if twice else weights

    def save(self, folder: Path) -> None:
        """Write model and tokenizer as transformers does, in safetensors."""
        self.tokenizer.model_max_length = self.max_length
        with quiet():
            self.headless.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


class Splade(nn.Module):
    """A learned-sparse encoder that can be trained; queries and documents may share one side or have their own.

    Source: Formal et al., SPLADE v2 (2021); for two sides Lassance and Clinchant, An efficiency study for SPLADE models
    (2022).
    """

    def __init__(self, document: Side, query: Side | None = None, *, name: str, revision: str | None = None) -> None:
        super().__init__()
        self.document = document
        self.query = query
        self.name, self.revision = name, revision

    @classmethod
    def load(cls, source: str, name: str | None = None, device: str | None = None) -> Self:
        """Load a folder or a model of the hub, of transformers or of sentence-transformers.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: it cannot be found or read, has no masked-language-model head, or is no learned-sparse encoder.
        """
        name = name or model_name(source)
        folder, revision = snapshot(source)
        layout = read_layout(folder, name)
        document = _load_side(layout.document, name, layout.prompts.get("document", ""))
        is_one = layout.query == layout.document and len(set(map(layout.prompts.get, SIDES))) == 1
        query = None if is_one else _load_side(layout.query, name, layout.prompts.get("query", ""))
        return cls(document, query, name=name, revision=revision).to(device)

    @classmethod
    def from_encoder(cls, source: str, name: str | None = None, device: str | None = None) -> Self:
        """Make one of an encoder without a language-model head, such as `minilm`; it needs training to be of use.

        The head is that of its architecture, with a projection tied to the input embeddings and a transform near the
        identity, and depends on nothing random. A bias of -10^4 keeps special tokens out for others who load it.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: the model cannot be found or read, or its architecture has no masked-language-model head.
        """
        name = name or model_name(source)
        folder, revision = snapshot(source)
        model, missing = _load_model(folder, name)
        tokenizer = _load_tokenizer(folder, name)
        _near_identity(model, missing)
        bias = getattr(model.get_output_embeddings(), "bias", None)
        if bias is not None:
            with torch.no_grad():
                bias[[token for token in tokenizer.all_special_ids if token < len(bias)]] = _NEVER
        max_length = _json(folder / "sentence_bert_config.json").get("max_seq_length")
        side = Side(model, tokenizer, name=name, max_length=max_length)
        return cls(side, name=name, revision=revision).to(device)

    @property
    def sides(self) -> dict[str, Side]:
        """What encodes queries and what documents; it may be the same."""
        return {"query": self.query or self.document, "document": self.document}

    @property
    def max_length(self) -> int:
        """Tokens of a document that are read."""
        return self.document.max_length

    @property
    def dimensions(self) -> int:
        """Size of the vocabulary."""
        return self.document.dimensions

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

    def _side(self, name: str) -> Side:
        if name not in SIDES:
            raise InputError(f"no side {name!r}", hint=f"name one of {', '.join(SIDES)}")
        return self.sides[name]

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` and sentence-transformers' SparseEncoder read; weights are safetensors.

        Raises:
            InputError: something stands there already.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: something stands there already", hint="name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        prompts = {name: side.prompt for name, side in self.sides.items()}
        _write(folder / "config_sentence_transformers.json", _described(prompts))
        self._save_modules(folder)

    def _save_modules(self, folder: Path) -> None:
        _save_side(self.document, folder, folder / "1_SpladePooling")
        _write(folder / "modules.json", [_module(0, "", _MLM), _module(1, "1_SpladePooling", _POOLING)])


_MODULES = "sentence_transformers.sparse_encoder.models"
_MLM = f"{_MODULES}.MLMTransformer"
_POOLING = f"{_MODULES}.SpladePooling"


def _save_side(side: Side, folder: Path, pooling: Path) -> None:
    side.save(folder)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": side.max_length, "do_lower_case": False})
    pooling.mkdir()
    _write(pooling / "config.json", {"pooling_strategy": side.pooling, "activation_function": side.activation})


def _module(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": kind}


def _described(prompts: Mapping[str, str]) -> dict[str, Any]:
    return {"model_type": "SparseEncoder", "prompts": dict(prompts), "similarity_fn_name": "dot"}


def _load_side(part: Part, name: str, prompt: str) -> Side:
    model, missing = _load_model(part.folder, name)
    if missing:
        raise ModelError(
            f"model {name!r} has no masked-language-model head: {', '.join(sorted(missing)[:3])} are not in it",
            hint="name a masked language model; Splade.from_encoder makes one of an encoder, to be trained",
        )
    return Side(
        model,
        _load_tokenizer(part.folder, name),
        name=name,
        max_length=part.max_length,
        pooling=part.pooling,
        activation=part.activation,
        prompt=prompt,
    )


def _load_model(folder: Path, name: str) -> tuple[Any, set[str]]:
    """A masked language model in float32, and the parameters that its folder does not have."""
    try:
        from transformers import AutoModelForMaskedLM
    except ImportError as error:
        raise MissingExtraError("transformers", "models", "encoding") from error
    try:
        with quiet():
            model, info = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise _not_loaded(name, error) from error
    return model, set(info["missing_keys"])


def _load_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _not_loaded(name, error) from error
    return tokenizer


def _not_loaded(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"model {name!r} cannot be loaded: {error}",
        hint="name a masked language model with its tokenizer, by its folder or its Hugging Face id",
    )


@torch.no_grad()
def _near_identity(model: Any, missing: set[str]) -> None:
    """Set what a head lacks: square maps to the identity, shifted to where GELU is linear; other biases to zero."""
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or f"{name}.weight" not in missing:
            continue
        if module.in_features == module.out_features:
            nn.init.eye_(module.weight)
            nn.init.constant_(module.bias, _SHIFT)
    for name, parameter in model.named_parameters():
        if name in missing and name.endswith("bias") and len(parameter) == model.config.vocab_size:
            parameter.zero_()


def _max_length(model: Any, tokenizer: Any) -> int:
    """Tokens that both model and tokenizer can handle."""
    positions = getattr(model.config, "max_position_embeddings", None)
    return int(min(tokenizer.model_max_length, positions or 512))


def _json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
