"""The folder of a set-encoder, as lightning-ir lays it out: what is read of it, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval.encoders.layout import read_json
from retrieval.encoders.models import quiet
from retrieval.encoders.neural.side import auto, write_json
from retrieval.errors import MissingExtraError, ModelError

__all__ = ["BACKBONES", "MARK", "WANTED", "SetLayout", "is_set_encoder", "read_set_layout", "write_set_layout"]

BACKBONES = {"bert": "Bert", "electra": "Electra"}
# The token whose state the other passages see, behind [CLS].
MARK = "[INT]"
WANTED = "a set-encoder"
_KIND = "set-encoder"
_HINT = "name a set-encoder; retrieval train set-encoder makes one of a BERT or an ELECTRA"
_HEADS = ("linear.", "duplicate.", "novelty.")
# What these models can be beyond what is built here.
_ONLY = {"pooling_strategy": "first", "scoring_strategy": "rank", "_bert_pool": False, "use_adapter": False}
# Passages of a set in training, as lightning-ir wants to know; it sets no limit here.
_DEPTH = 100
# Positions beside a query: of what marks the parts, and of a token of the passage.
_LEAST = 5


@dataclass(frozen=True, kw_only=True)
class SetLayout:
    """What a folder holds.

    Attributes:
        backbone: of transformers, without a pooler.
        tokenizer: of transformers.
        heads: weights of the heads, by name.
        has_mark: whether a token of its own interacts; else the first one does.
        query_length: tokens of a query that are read.
        document_length: tokens of a passage that are read.
    """

    backbone: Any
    tokenizer: Any
    heads: Mapping[str, Tensor]
    has_mark: bool
    query_length: int
    document_length: int


def is_set_encoder(folder: Path) -> bool:
    """Whether a folder says that it holds a set-encoder."""
    return read_json(folder / "config.json").get("model_type") == _KIND


def read_set_layout(folder: Path, name: str) -> SetLayout:
    """Read a folder that lightning-ir or `write_set_layout` wrote.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: it is no set-encoder, one of a kind that is not built here, or not whole.
    """
    config = read_json(folder / "config.json")
    if config.get("model_type") != _KIND:
        kind = config.get("model_type", "nothing")
        raise ModelError(f"model {name!r} is no set-encoder: its config.json says {kind!r}", hint=_HINT)
    backbone = config.get("backbone_model_type")
    if backbone not in BACKBONES:
        raise ModelError(f"model {name!r} is a set-encoder of {backbone!r}", hint=f"known are {', '.join(BACKBONES)}")
    for key, known in _ONLY.items():
        if config.get(key) not in (None, known):
            raise ModelError(f"model {name!r} has {key} {config[key]!r}; known is {known!r}", hint=_HINT)
    model = _backbone(folder, name, BACKBONES[backbone], {**config, "model_type": backbone})
    positions = model.config.max_position_embeddings
    heads = _weights(folder, _HEADS)
    if "linear.weight" not in heads:
        raise ModelError(f"model {name!r} has no head: linear.weight is not in it", hint=_HINT)
    return SetLayout(
        backbone=model,
        tokenizer=_tokenizer(folder, name),
        heads=heads,
        has_mark=bool(config.get("add_extra_token")),
        query_length=min(config.get("query_length") or positions, positions - _LEAST),
        document_length=config.get("doc_length") or positions,
    )


def write_set_layout(folder: Path, layout: SetLayout) -> None:
    """Write what `read_set_layout` and lightning-ir read, in safetensors, into an empty folder."""
    from safetensors.torch import save_file

    kind = layout.backbone.config.model_type
    own = {
        "query_length": layout.query_length,
        "doc_length": layout.document_length,
        "add_extra_token": layout.has_mark,
    }
    config = layout.backbone.config.to_dict()
    config |= own | {
        "architectures": [f"SetEncoder{BACKBONES[kind]}Model"],
        "model_type": _KIND,
        "backbone_model_type": kind,
        "linear_bias": "linear.bias" in layout.heads,
        "depth": _DEPTH,
        "sample_missing_docs": False,
        **_ONLY,
    }
    config.pop("sentence_transformers", None)
    write_json(folder / "config.json", config)
    weights = dict(layout.backbone.state_dict()) | dict(layout.heads)
    kept = {name: values.detach().cpu().contiguous() for name, values in weights.items() if "pooler" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with quiet():
        layout.tokenizer.save_pretrained(folder)
    described = read_json(folder / "tokenizer_config.json") | own
    described["tokenizer_class"], described["backbone_tokenizer_class"] = (
        "SetEncoderTokenizer",
        f"{BACKBONES[kind]}TokenizerFast",
    )
    write_json(folder / "tokenizer_config.json", described)


def _backbone(folder: Path, name: str, kind: str, config: dict[str, Any]) -> Any:
    """The model without its head, whole."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "models", "a set-encoder") from error
    known = getattr(transformers, f"{kind}Config").from_dict(config)
    without_pooler = {"add_pooling_layer": False} if kind == "Bert" else {}
    model, missing = auto(f"{kind}Model", folder, name, "float32", wanted=WANTED, config=known, **without_pooler)
    if missing:
        raise ModelError(f"model {name!r} is not whole: {', '.join(sorted(missing)[:3])} are not in it")
    return model


def _tokenizer(folder: Path, name: str) -> Any:
    """The folder's, whose class is lightning-ir's, as a plain one."""
    from transformers import PreTrainedTokenizerFast

    try:
        with quiet():
            return PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # of tokenizers, which raises no other
        raise ModelError(f"model {name!r} has no tokenizer: {error}", hint="save its tokenizer beside it") from error


def _weights(folder: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Those of a folder's weights whose names begin so."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefixes)}  # noqa: SIM118
    if not found:
        for path in sorted(folder.glob("pytorch_model*.bin")):
            state = torch.load(path, map_location="cpu", weights_only=True)
            found |= {name: values for name, values in state.items() if name.startswith(prefixes)}
    return found
