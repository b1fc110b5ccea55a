"""Language models made on the spot: random weights over a few words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = (
    *("aurora", "solar", "wind", "magnetic", "field", "particle", "storm"),
    *("sky", "light", "night", "plasma", "ion", "electron"),
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = [*SPECIAL, *WORDS, *"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "aeinorst")]


@pytest.fixture
def make_masked(tmp_path: Path) -> Callable[..., Path]:
    """Writes a masked language model with its tokenizer to a folder of that name: of BERT, or of DistilBERT."""

    def make(name: str = "masked", *, kind: str = "bert", seed: int = 0) -> Path:
        return write_masked(tmp_path / name, kind=kind, seed=seed)

    return make


@pytest.fixture
def make_causal(tmp_path: Path) -> Callable[..., Path]:
    """Writes a causal language model with its tokenizer of words: of Mistral, with two layers."""

    def make(name: str = "causal", **config: Any) -> Path:
        return write_causal(tmp_path / name, **config)

    return make


def write_masked(folder: Path, *, kind: str, seed: int) -> Path:
    pytest.importorskip("transformers")
    import torch
    from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

    from retrieval.encoders.models import quiet

    torch.manual_seed(seed)
    if kind == "bert":
        shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        config: Any = BertConfig(vocab_size=len(VOCABULARY), intermediate_size=32, max_position_embeddings=64, **shape)
        model: Any = BertForMaskedLM(config)
    else:
        shape = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
        config = DistilBertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, **shape)
        model = DistilBertForMaskedLM(config)
    # The usual start is so small that all logits are alike.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    write_tokenizer(folder)
    with quiet():
        model.save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    from transformers import BertTokenizer

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)


def write_causal(folder: Path, **config: Any) -> Path:
    pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    from retrieval.encoders.models import quiet

    vocabulary = ["<pad>", "<s>", "</s>", "<unk>", *WORDS]
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    positions = {"num_key_value_heads": 1, "max_position_embeddings": 64, "vocab_size": len(vocabulary)}
    model = MistralForCausalLM(MistralConfig(**shape, **positions, **config))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    with quiet():
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    return folder
