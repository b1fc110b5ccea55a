"""Set-encoders made on the spot, in the folder that lightning-ir writes, with weights that only numpy draws."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.rerank.making import VOCABULARY

# Of two queries: sets of two sizes, an empty passage, one that is cut, one twice.
SETS = [
    ("solar wind", ["the solar wind makes the sky glow", "storm", "", "plasma and light " * 20, "storm"]),
    ("what is plasma", ["sky night", "aurora"]),
    ("magnetic storm at night and by day", ["solar"]),
]
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def write_set_encoder(folder: Path, kind: str = "bert", *, marked: bool = True, seed: int = 0, **config: Any) -> Path:
    """A set-encoder of three small layers; `config` takes the place of what its config.json says."""
    import torch
    import transformers
    from safetensors.torch import save_file

    from retrieval.encoders.models import quiet

    names = {"bert": "Bert", "electra": "Electra"}
    shape = SHAPE | ({"embedding_size": 8} if kind == "electra" else {})
    known = getattr(transformers, f"{names[kind]}Config")(vocab_size=len(VOCABULARY) + marked, **shape)
    extra = {"add_pooling_layer": False} if kind == "bert" else {}
    plain = getattr(transformers, f"{names[kind]}Model")(known, **extra)
    sizes = {name: tuple(values.shape) for name, values in plain.named_parameters()} | {"linear.weight": (1, 16)}
    generator = np.random.default_rng(seed)
    weights = {name: generator.normal(scale=0.3, size=size) for name, size in sorted(sizes.items())}
    weights = {name: values + name.endswith("LayerNorm.weight") for name, values in weights.items()}
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    with quiet():
        tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64)
        if marked:
            tokenizer.add_tokens(["[INT]"], special_tokens=True)
        tokenizer.save_pretrained(folder)
    save_file({name: torch.tensor(values, dtype=torch.float32) for name, values in weights.items()}, folder / FILE)
    own = {"query_length": 8, "doc_length": 24, "add_extra_token": marked}
    told = known.to_dict() | own | {"model_type": "set-encoder", "backbone_model_type": kind, "depth": 100}
    told |= {"architectures": [f"SetEncoder{names[kind]}Model"], "pooling_strategy": "first", "linear_bias": False}
    (folder / "config.json").write_text(json.dumps(told | {"sample_missing_docs": False} | config))
    path = folder / "tokenizer_config.json"
    classes = {"tokenizer_class": "SetEncoderTokenizer", "backbone_tokenizer_class": f"{names[kind]}TokenizerFast"}
    path.write_text(json.dumps(json.loads(path.read_text()) | own | classes))
    return folder


FILE = "model.safetensors"
