"""Cross-encoders and a T5 made on the spot: random weights over a few words."""

from pathlib import Path
from typing import Any

WORDS = ("aurora", "solar", "wind", "magnetic", "field", "storm", "sky", "light", "night", "plasma")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz"]

PAIRS = [
    ("solar wind", "the solar wind makes the sky glow"),
    ("solar wind", ""),
    ("", "storm"),
    ("what is plasma", "plasma and light " * 30),
    ("sky", "night"),
    ("magnetic storm at night " * 10, "the sky " * 12),
    ("magnetic storm at night " * 10, "sky"),
    ("sky", "aurora"),
]


def write_tokenizer(folder: Path, vocabulary: list[str] = VOCABULARY, *, max_length: int = 32) -> Path:
    """BERT's over these words."""
    from transformers import BertTokenizer

    from retrieval.encoders.models import quiet

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    with quiet():
        BertTokenizer(str(folder / "vocab.txt"), model_max_length=max_length).save_pretrained(folder)
    return folder


def write_cross_encoder(
    folder: Path, *, labels: int = 1, kind: str = "BertForSequenceClassification", seed: int = 0, **config: Any
) -> Path:
    """A BERT of two small layers with that head, and its tokenizer."""
    import torch
    import transformers

    from retrieval.encoders.models import quiet

    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    settings = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 64, "num_labels": labels, **shape, **config}
    model = getattr(transformers, kind)(transformers.BertConfig(**settings))
    # The usual start is so small that all scores are alike.
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    write_tokenizer(folder)
    with quiet():
        model.save_pretrained(folder)
    return folder


def write_mono_t5(folder: Path, *, seed: int = 0, answers: tuple[str, ...] = ("true", "false"), **config: Any) -> Path:
    """A T5 of two small layers each way, and a tokenizer of whole words as T5's are, with letters for the rest."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from retrieval.encoders.models import quiet

    words = [*WORDS, *answers, "Query", "Document", "Relevant", "what", "is"]
    pieces = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in words), "▁", *":abcdefghijklmnopqrstuvwxyz"]
    backend = Tokenizer(models.Unigram([(piece, -1.0 * len(pieces)) for piece in pieces], unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=48
    )
    torch.manual_seed(seed)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=len(pieces) + 3, **{**shape, **config})
    )
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    folder.mkdir(parents=True)
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
