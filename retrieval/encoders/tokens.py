"""Texts to tokens by the tokenizers library alone, which loads in a moment; and weights of tokens from a table."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.layout import Part
from retrieval.encoders.models import quiet
from retrieval.errors import MissingExtraError, ModelError

__all__ = ["TokenTable", "Tokens", "table_weights"]


class Tokens:
    """The vocabulary of a model, and which of it stands in a text.

    Raises:
        MissingExtraError: tokenizers is not installed.
        ModelError: the folder holds no tokenizer.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._tokenizer = _tokenizer(folder, name)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @cached_property
    def special(self) -> list[int]:
        """Numbers of the tokens that stand for no word, ascending."""
        added = self._tokenizer.get_added_tokens_decoder()
        return sorted(number for number, token in added.items() if token.special)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Of each token, its number."""
        numbers: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return numbers

    def names(self, n: int) -> list[str]:
        """The first n tokens; a number that the tokenizer lacks has a name nobody can type."""
        names = [f"[no token {number}]" for number in range(n)]
        for token, number in self.numbers.items():
            if number < n:
                names[number] = token
        return names

    def of(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Numbers of each text's tokens, in order, special ones not put in; cut at `max_length`."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [tokens.ids[:max_length] for tokens in found]


class TokenTable:
    """Weights of a text's tokens from a table: no model is run. Each distinct token counts once.

    Source: Geng et al., Towards competitive search relevance for inference-free learned sparse retrievers (2024).

    Raises:
        MissingExtraError: tokenizers is not installed.
        ModelError: the table or its tokenizer cannot be read, or it is not for `dimensions` tokens.
    """

    def __init__(self, part: Part, name: str, dimensions: int) -> None:
        self.tokens = Tokens(part.folder, name)
        self._max_length = part.max_length
        self._weights = table_weights(part, name, self.tokens.numbers, dimensions)
        self._weights[[number for number in self.tokens.special if number < dimensions]] = 0

    def encode(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Of each text, columns, ascending, and weights, those above zero."""
        found = [np.unique(np.array(tokens, dtype=np.int32)) for tokens in self.tokens.of(texts, self._max_length)]
        kept = [columns[self._weights[columns] > 0] for columns in found]
        return [(columns, self._weights[columns]) for columns in kept]


def table_weights(part: Part, name: str, numbers: dict[str, int], dimensions: int) -> NDArray[np.float32]:
    """(dimensions,) weights of a table's tokens, from JSON or safetensors; those that JSON does not name are zero."""
    weights = _json_weights(part.table, name, numbers, dimensions) if part.table else _tensor(part.folder, name)
    if len(weights) != dimensions:
        raise ModelError(f"model {name!r} weighs {len(weights)} tokens of queries, but its documents have {dimensions}")
    return weights


def _json_weights(table: Path, name: str, numbers: dict[str, int], dimensions: int) -> NDArray[np.float32]:
    weights = np.zeros(dimensions, dtype=np.float32)
    for token, weight in json.loads(table.read_text(encoding="utf-8")).items():
        number = numbers.get(token, dimensions)
        if number >= dimensions:
            raise ModelError(f"model {name!r}: {table} weighs {token!r}, which is no token of its tokenizer")
        weights[number] = weight
    return weights


def _tensor(folder: Path, name: str) -> NDArray[np.float32]:
    from safetensors.numpy import load_file

    path = folder / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"model {name!r}: {path} is missing", hint="save the model in safetensors")
    weights: NDArray[np.float32] = load_file(path)["weight"].astype(np.float32)
    return weights


def _tokenizer(folder: Path, name: str) -> Any:
    """From tokenizer.json; an older folder without it goes through transformers, which takes seconds to load."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "models", "encoding") from error
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            backend = tokenizer.backend_tokenizer
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"model {name!r} has no tokenizer: {error}", hint="save its tokenizer beside it") from error
    # Where no file is, transformers makes one without words.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(f"model {name!r} has no tokenizer", hint="save its tokenizer beside it")
    return backend
