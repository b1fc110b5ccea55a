"""What a learned-sparse model's folder says of itself: which part encodes queries, which documents, and how.

Read are a plain folder of transformers and the folders of sentence-transformers, of all versions that know sparse models.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from retrieval.errors import ModelError

__all__ = ["SIDES", "TABLES", "Layout", "Part", "read_layout"]

SIDES = ("query", "document")
# Weights of query tokens, as {token: weight}, beside a model that encodes documents.
TABLES = ("query_token_weights.json", "idf.json")

_TRANSFORMERS = {"Transformer", "MLMTransformer"}
_ROUTERS = {"Router", "Asym"}
_STATIC = {"SparseStaticEmbedding", "IDF"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """What encodes one side.

    Attributes:
        kind: a masked language model, or a table with a weight for each token.
        folder: where its configuration, weights and tokenizer are.
        table: of a table that is a JSON file, that file.
        pooling: `max` or `sum` over a text's tokens.
        activation: `relu`, or `log1p_relu`, which takes the logarithm twice.
        max_length: tokens that are read, where the folder says so.
    """

    kind: Literal["language model", "table"]
    folder: Path
    table: Path | None = None
    pooling: str = "max"
    activation: str = "relu"
    max_length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The parts for queries and documents, equal if one does both, and what is put in front of their texts."""

    query: Part
    document: Part
    prompts: Mapping[str, str] = field(default_factory=dict)


def read_layout(folder: Path, name: str) -> Layout:
    """What a folder says of itself.

    Raises:
        ModelError: it is made of modules that are no learned-sparse encoder, or compares vectors otherwise than by dot
            product.
    """
    if not (folder / "modules.json").is_file():
        document = Part(kind="language model", folder=folder)
        return Layout(query=_table_beside(folder) or document, document=document)
    settings = _settings(folder, "config_sentence_transformers.json")
    if (similarity := settings.get("similarity_fn_name")) not in (None, "dot"):
        raise ModelError(f"model {name!r} compares vectors by {similarity}; a sparse index knows dot")
    modules = sorted(
        json.loads((folder / "modules.json").read_text(encoding="utf-8")), key=lambda module: module["idx"]
    )
    steps = [(_class(module["type"]), folder / module["path"]) for module in modules]
    if steps[0][0] in _ROUTERS:
        routes = _routes(steps[0][1])
        parts = {side: _part([*routes.get(side, ()), *steps[1:]], name) for side in SIDES}
    else:
        part = _part(steps, name)
        parts = {"query": _table_beside(folder) or part, "document": part}
    prompts = {side: prompt for side in SIDES if (prompt := (settings.get("prompts") or {}).get(side))}
    return Layout(**parts, prompts=prompts)


def _table_beside(folder: Path) -> Part | None:
    for table in TABLES:
        if (folder / table).is_file():
            return Part(kind="table", folder=folder, table=folder / table)
    return None


def _routes(folder: Path) -> dict[str, list[tuple[str, Path]]]:
    """The modules of each side of a router, in order."""
    config = _settings(folder, "router_config.json") or _settings(folder, "config.json")
    return {
        side: [(_class(config["types"][module]), folder / module) for module in modules]
        for side, modules in config["structure"].items()
    }


def _part(steps: Sequence[tuple[str, Path]], name: str) -> Part:
    kinds = [kind for kind, _ in steps]
    if len(kinds) == 1 and kinds[0] in _STATIC:
        return _static(steps[0][1])
    if len(kinds) == 2 and kinds[0] in _TRANSFORMERS and kinds[1] == "SpladePooling":
        pooling = _settings(steps[1][1], "config.json")
        return Part(
            kind="language model",
            folder=steps[0][1],
            pooling=pooling.get("pooling_strategy", "max"),
            activation=pooling.get("activation_function", "relu"),
            max_length=_settings(steps[0][1], "sentence_bert_config.json").get("max_seq_length"),
        )
    raise ModelError(
        f"model {name!r} is no learned-sparse encoder: it is made of {', '.join(kinds) or 'nothing'}",
        hint="name a masked language model, or a SparseEncoder of sentence-transformers; "
        "Splade.from_encoder makes one of a dense encoder, to be trained",
    )


def _static(folder: Path) -> Part:
    path = _settings(folder, "config.json").get("path")
    return Part(kind="table", folder=folder, table=folder / path if path else None)


def _settings(folder: Path, file: str) -> dict[str, Any]:
    path = folder / file
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return settings


def _class(path: str) -> str:
    return path.rpartition(".")[2]
