"""What encodes one side, queries or documents: a language model that ends in a vector, or a table of token weights."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retrieval.encoders.layout import Part
from retrieval.encoders.models import quiet
from retrieval.encoders.neural.headless import Headless
from retrieval.encoders.neural.pooling import splade_pool, splade_sum
from retrieval.errors import InputError, MissingExtraError, ModelError

__all__ = [
    "Side",
    "TableSide",
    "auto",
    "load_tokenizer",
    "new_folder",
    "not_loaded",
    "special_tokens",
    "write_json",
]

_MASKED = "a masked language model"


class Side(nn.Module):
    """A masked language model without its last step, its tokenizer, and how tokens become one vector.

    Columns of special tokens are zero in every vector. All tokens of a text are pooled, the special ones too, as in the
    published models.
    """

    special: Tensor

    def __init__(self, model: Any, tokenizer: Any, part: Part, *, name: str, prompt: str = "") -> None:
        super().__init__()
        self.headless = Headless(model, name)
        self.tokenizer, self.name, self.prompt = tokenizer, name, prompt
        self.part = replace(part, dimensions=len(self.headless.weight), architecture=type(model).__name__)
        self.register_buffer("special", special_tokens(tokenizer, self.dimensions), persistent=False)

    @classmethod
    def load(cls, part: Part, *, name: str, prompt: str = "", precision: str = "float32") -> "Side":
        """Read model and tokenizer.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: a file is missing or cannot be read, or there is no head.
        """
        model, missing = auto("AutoModelForMaskedLM", part.folder, name, precision)
        if missing:
            raise ModelError(
                f"model {name!r} has no masked-language-model head: {', '.join(sorted(missing)[:3])} are not in it",
                hint="name a masked language model; Splade.from_encoder makes one of an encoder, to be trained",
            )
        return cls(model, load_tokenizer(part.folder, name), part, name=name, prompt=prompt)

    @property
    def dimensions(self) -> int:
        """Size of the vocabulary."""
        return self.part.dimensions

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read."""
        return self.part.max_length

    @max_length.setter
    def max_length(self, tokens: int) -> None:
        self.part = replace(self.part, max_length=tokens)

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
        return self.pool(
            self.headless({name: values for name, values in features.items() if name != "pooled"}), features
        )

    def pool(self, states: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """The same of the states (n, length, H) that the features have, wherever they come from."""
        pooled = features.get("pooled", features["attention_mask"]).bool()
        bias = self.headless.bias
        bias = states.new_zeros(self.dimensions) if bias is None else bias
        barred = bias.masked_fill(self.special, -torch.inf)
        given = (states[pooled], pooled.nonzero()[:, 0], len(pooled), self.headless.weight, barred)
        twice = self.part.activation == "log1p_relu"
        if self.part.pooling == "sum":
            return splade_sum(*given, twice=twice)
        weights = splade_pool(*given)
        return torch.log1p(weights) if twice else weights

    def save(self, folder: Path) -> None:
        """Write model and tokenizer as transformers does, in safetensors."""
        self.tokenizer.model_max_length = self.max_length
        with quiet():
            self.headless.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


class TableSide(nn.Module):
    """Weights of a text's distinct tokens from a table, which training may change; no model is run.

    Args:
        tokenizer: of the model that encodes documents.
        weights: (V,) none below zero.
        frozen: whether training leaves them as they are.
    """

    special: Tensor

    def __init__(self, tokenizer: Any, weights: Tensor, *, part: Part, frozen: bool = True, prompt: str = "") -> None:
        super().__init__()
        self.weight = nn.Parameter(weights.float(), requires_grad=not frozen)
        self.tokenizer, self.part, self.prompt = tokenizer, replace(part, dimensions=len(weights)), prompt
        self.register_buffer("special", special_tokens(tokenizer, len(weights)), persistent=False)

    @property
    def dimensions(self) -> int:
        """Size of the vocabulary."""
        return len(self.weight)

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read."""
        return self.part.max_length

    @max_length.setter
    def max_length(self, tokens: int) -> None:
        self.part = replace(self.part, max_length=tokens)

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids (n, length), none of them put in, and an attention mask."""
        features = self.tokenizer(
            [self.prompt + text for text in texts],
            add_special_tokens=False,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        # Without any token the ids would be of floats.
        return {name: values.long() for name, values in features.items()}

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(n, V) the weights of tokens that are there."""
        tokens, mask = features["input_ids"], features["attention_mask"]
        there = torch.zeros((len(tokens), self.dimensions), dtype=torch.bool, device=tokens.device)
        texts, places = mask.nonzero(as_tuple=True)
        there[texts, tokens[texts, places]] = True
        return torch.where(there & ~self.special, torch.relu(self.weight), 0)

    def save(self, folder: Path) -> None:
        """Write table and tokenizer as sentence-transformers does."""
        from safetensors.torch import save_file

        self.tokenizer.model_max_length = self.max_length
        self.tokenizer.save_pretrained(folder)
        weights = torch.relu(self.weight.detach()).masked_fill(self.special, 0)
        save_file({"weight": weights.cpu().contiguous()}, folder / "model.safetensors")
        write_json(folder / "config.json", {"frozen": not self.weight.requires_grad})


def auto(
    kind: str, folder: Path, name: str, precision: str, *, wanted: str = _MASKED, **settings: Any
) -> tuple[Any, set[str]]:
    """A model by one of transformers' automatic classes, and the parameters that its folder does not have.

    Args:
        kind: that class.
        folder: the model's.
        name: what errors call it.
        precision: torch's name of it.
        wanted: what an error says that should have been named.
        settings: of its config, in place of the folder's.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "models", "encoding") from error
    load = getattr(transformers, kind).from_pretrained
    try:
        with quiet():
            model, info = load(folder, dtype=getattr(torch, precision), output_loading_info=True, **settings)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise not_loaded(name, error, wanted) from error
    return model, set(info["missing_keys"])


def load_tokenizer(folder: Path, name: str) -> Any:
    """A tokenizer of transformers."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(f"model {name!r} has no tokenizer: {error}", hint="save its tokenizer beside it") from error
    # Where no file is, transformers makes one without words.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(f"model {name!r} has no tokenizer", hint="save its tokenizer beside it")
    return tokenizer


def not_loaded(name: str, error: Exception, wanted: str = _MASKED) -> ModelError:
    """What to say of a model that transformers cannot read."""
    return ModelError(
        f"model {name!r} cannot be loaded: {error}",
        hint=f"name {wanted} with its tokenizer, by its folder or its Hugging Face id",
    )


def special_tokens(tokenizer: Any, width: int) -> Tensor:
    """(width,) bool: which columns stand for no word."""
    special = torch.zeros(width, dtype=torch.bool)
    special[[token for token in tokenizer.all_special_ids if token < width]] = True
    return special


def new_folder(folder: str | Path) -> Path:
    """A folder to save a model in, made if it is not there.

    Raises:
        InputError: something stands there already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: something stands there already", hint="name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_json(path: Path, values: Any) -> None:
    """Write JSON that people can read."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
