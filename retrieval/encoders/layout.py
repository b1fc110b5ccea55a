"""What a learned-sparse model's folder says of itself: which part encodes queries, which documents, and how.

Read are a plain folder of transformers, the folders of sentence-transformers of all versions that know sparse models,
and our own for what neither can say.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from retrieval.encoders.models import locate, snapshot
from retrieval.errors import ModelError

__all__ = [
    "OURS",
    "SIDES",
    "Layout",
    "Part",
    "is_classifier",
    "is_sparse",
    "language_model",
    "read_json",
    "read_layout",
    "token_limit",
]

SIDES = ("query", "document")
# Written where sentence-transformers' own files have no word for a part.
OURS = "retrieval_encoder.json"
# Weights of query tokens, as {token: weight}, beside a model that encodes documents.
_TABLES = ("query_token_weights.json", "idf.json")

_TRANSFORMERS = {"Transformer", "MLMTransformer"}
_ROUTERS = {"Router", "Asym"}
_STATIC = {"SparseStaticEmbedding", "IDF"}

# Texts are cut here where neither model nor tokenizer says where.
_MAX_LENGTH = 512
# A text that is given twice takes two positions a token; passages of BEIR's recipes have this many tokens.
_ECHO_LENGTH = 256
# These number their positions from behind the padding's number.
# How causal language models are called.
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_OFFSET_POSITIONS = ("roberta", "camembert", "mpnet")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What encodes one side.

    Attributes:
        kind: a `masked` language model, a causal one that reads a text twice (`echo`), or a `table` of token weights.
        folder: where its weights and tokenizer are.
        base: of adapters, the folder of the model that they adapt.
        base_name: that model's place, or where adapters for this one would find it: a folder or a hub's id.
        table: of a table that is a JSON file, that file.
        architecture: the class of the model.
        dimensions: size of the vocabulary, of a language model.
        max_length: tokens of a text that are read.
        pooling: `max` or `sum` over a text's tokens.
        activation: `relu`, or `log1p_relu`, which takes the logarithm twice.
        separator: what stands between a text and its echo.
        tied: whether an echo's projection is made that of the input embeddings.
    """

    kind: Literal["masked", "echo", "table"]
    folder: Path
    base: Path | None = None
    base_name: str | None = None
    table: Path | None = None
    architecture: str = "TokenWeights"
    dimensions: int = 0
    max_length: int = _MAX_LENGTH
    pooling: str = "max"
    activation: str = "relu"
    separator: str = "\n"
    tied: bool = True

    @property
    def words(self) -> Path:
        """The folder of its tokenizer."""
        has_its_own = any((self.folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json"))
        return self.folder if has_its_own or not self.base else self.base

    @property
    def weights(self) -> list[Path]:
        """The files that hold its parameters."""
        if self.table:
            return [self.table]
        folders = [self.folder, *([self.base] if self.base else [])]
        return [path for folder in folders for path in _weights(folder)]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The parts for queries and documents, equal if one does both, and what is put in front of their texts."""

    query: Part
    document: Part
    prompts: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None

    @property
    def is_one(self) -> bool:
        """Whether queries and documents are encoded alike."""
        return self.query == self.document and self.prompts.get("query") == self.prompts.get("document")


def read_layout(source: str, name: str) -> Layout:
    """What a model's folder says of itself; a model of the hub is fetched.

    Raises:
        MissingExtraError: it is `minilm` or a model of the hub, and the package for it is not installed.
        ModelError: it cannot be found, is made of modules that are no learned-sparse encoder, or compares vectors
            otherwise than by dot product.
    """
    folder, revision = snapshot(source)
    if (folder / "modules.json").is_file():
        return _composed(folder, name, revision)
    ours = read_json(folder / OURS)
    document = language_model(folder, name, source=locate(source), **ours.get("document", {}))
    prompts = ours.get("prompts", {})
    return Layout(query=_table_beside(folder) or document, document=document, prompts=prompts, revision=revision)


def language_model(folder: Path, name: str, source: str | None = None, **settings: Any) -> Part:
    """A folder of transformers as a part; settings that it cannot know are given, and its place if it has a name."""
    adapters = read_json(folder / "adapter_config.json")
    base_name = adapters.get("base_model_name_or_path")
    base = snapshot(base_name)[0] if base_name else None
    config = read_json((base or folder) / "config.json")
    if "vocab_size" not in config:
        raise ModelError(
            f"model {name!r}: {folder} holds no language model", hint="name a folder with a config.json and weights"
        )
    architecture = (config.get("architectures") or [""])[0]
    causal = settings.pop("kind", None) == "echo" or adapters or architecture.endswith(_CAUSAL)
    limit = token_limit(config, read_json(folder / "tokenizer_config.json"))
    given = settings.pop("max_length", None) or (min(_ECHO_LENGTH, limit // 2 - 4) if causal else limit)
    return Part(
        kind="echo" if causal else "masked",
        folder=folder,
        base=base,
        base_name=base_name or source,
        architecture=architecture,
        dimensions=config["vocab_size"],
        max_length=given,
        **settings,
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{path} cannot be read ({error})", hint="put the model's folder back as it was") from error
    return values


def is_classifier(model: str) -> bool:
    """Whether a model says that it is one of sequence classification, as cross-encoders are, and no plain encoder."""
    folder, _ = snapshot(model)
    named = read_json(folder / "config.json").get("architectures") or []
    return any(name.endswith("ForSequenceClassification") for name in named)


def is_sparse(model: str) -> bool:
    """Whether a model is a learned-sparse encoder, or a language model; else it is an encoder of another kind.

    Raises:
        MissingExtraError, ModelError: it cannot be found or read.
    """
    folder, _ = snapshot(model)
    if (folder / "modules.json").is_file():
        kinds = {module["type"].rpartition(".")[2] for module in json.loads((folder / "modules.json").read_text())}
        return bool(kinds & (_ROUTERS | _STATIC | {"SpladePooling", "MLMTransformer"}))
    architecture = (read_json(folder / "config.json").get("architectures") or [""])[0]
    return not architecture.endswith("Model") or architecture.endswith(_CAUSAL)


def _composed(folder: Path, name: str, revision: str | None) -> Layout:
    """The modules of a folder of sentence-transformers."""
    settings = read_json(folder / "config_sentence_transformers.json")
    modules = sorted(
        json.loads((folder / "modules.json").read_text(encoding="utf-8")), key=lambda module: module["idx"]
    )
    steps = [(_class(module["type"]), folder / module["path"]) for module in modules]
    if steps[0][0] in _ROUTERS:
        routes = _routes(steps[0][1])
        query, document = (_part([*routes[side], *steps[1:]], name) for side in SIDES)
    else:
        document = _part(steps, name)
        query = _table_beside(folder) or document
    if (similarity := settings.get("similarity_fn_name")) not in (None, "dot"):
        raise ModelError(f"model {name!r} compares vectors by {similarity}; a sparse index knows dot")
    prompts = {side: prompt for side in SIDES if (prompt := (settings.get("prompts") or {}).get(side))}
    return Layout(query=query, document=document, prompts=prompts, revision=revision)


def _table_beside(folder: Path) -> Part | None:
    tables = [folder / table for table in _TABLES if (folder / table).is_file()]
    return _static(folder, tables[0]) if tables else None


def _routes(folder: Path) -> dict[str, list[tuple[str, Path]]]:
    """The modules of each side of a router, in order; a side that it does not name takes its default."""
    config = read_json(folder / "router_config.json") or read_json(folder / "config.json")
    structure, default = config["structure"], (config.get("parameters") or {}).get("default_route")
    named = {side: structure.get(side) or structure.get(default, []) for side in SIDES}
    return {
        side: [(_class(config["types"][module]), folder / module) for module in modules]
        for side, modules in named.items()
    }


def _part(steps: Sequence[tuple[str, Path]], name: str) -> Part:
    kinds, folders = [kind for kind, _ in steps], [folder for _, folder in steps]
    if len(kinds) == 1 and kinds[0] in _STATIC:
        path = read_json(folders[0] / "config.json").get("path")
        return _static(folders[0], folders[0] / path if path else None)
    if len(kinds) != 2 or kinds[0] not in _TRANSFORMERS or kinds[1] != "SpladePooling":
        raise ModelError(
            f"model {name!r} is no learned-sparse encoder: it is made of {', '.join(kinds) or 'nothing'}",
            hint="name a masked language model, or a SparseEncoder of sentence-transformers; "
            "Splade.from_encoder makes one of a dense encoder, to be trained",
        )
    pooling = read_json(folders[1] / "config.json")
    return language_model(
        folders[0],
        name,
        pooling=pooling.get("pooling_strategy", "max"),
        activation=pooling.get("activation_function", "relu"),
        max_length=read_json(folders[0] / "sentence_bert_config.json").get("max_seq_length"),
    )


def _static(folder: Path, table: Path | None) -> Part:
    limit = read_json(folder / "tokenizer_config.json").get("model_max_length") or _MAX_LENGTH
    return Part(kind="table", folder=folder, table=table, max_length=int(min(limit, 1 << 20)))


def token_limit(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int:
    """Tokens that both model and tokenizer can handle; a tokenizer without a limit says so by a huge number."""
    positions = config.get("max_position_embeddings") or config.get("n_positions") or _MAX_LENGTH
    if any(kind in config.get("model_type", "") for kind in _OFFSET_POSITIONS):
        positions -= config.get("pad_token_id", 1) + 1
    return int(min(tokenizer.get("model_max_length") or positions, positions))


def _weights(folder: Path) -> list[Path]:
    """In safetensors if there are any, as transformers reads them."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _class(path: str) -> str:
    return path.rpartition(".")[2]
