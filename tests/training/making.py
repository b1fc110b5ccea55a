"""A task to learn in seconds: queries and documents of a topic share no word, so only training can match them."""

import json
import random
from pathlib import Path

import torch

TOPICS, WORDS = 6, 6
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def words(topic: int, side: str) -> list[str]:
    """The words of a topic on one side."""
    return [f"{side}{topic}x{number}" for number in range(WORDS)]


def make_collection(
    folder: Path, *, queries: int = 60, documents: int = 60, seed: int = 0, shared: bool = False
) -> Path:
    """A BEIR folder: each query's positives are all documents of its topic; the last third of queries is test.

    With `shared`, documents have some words of queries after all, of this topic or that.
    """
    generator = random.Random(seed)
    (folder / "qrels").mkdir(parents=True)
    topics = [number % TOPICS for number in range(documents)]
    corpus = [
        {"_id": f"d{number}", "title": "", "text": " ".join(generator.choices(words(topic, "d"), k=5))}
        for number, topic in enumerate(topics)
    ]
    for number, record in enumerate(corpus if shared else []):
        record["text"] += " " + " ".join(words(number % 4, "q")[: number % 5])
    asked = [
        {"_id": f"q{number}", "text": f"{' '.join(generator.choices(words(number % TOPICS, 'q'), k=3))}"}
        for number in range(queries)
    ]
    for name, records in (("corpus", corpus), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    lines = {"train": [], "test": []}
    for number in range(queries):
        split = "test" if number >= queries * 2 // 3 else "train"
        lines[split] += [f"q{number}\td{d}\t1" for d, topic in enumerate(topics) if topic == number % TOPICS]
    for split, told in lines.items():
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(told) + "\n")
    return folder


def make_encoder(folder: Path, *, head: bool, seed: int = 0, dropout: float = 0.1) -> Path:
    """A BERT of two small layers with random weights over the task's words, with or without a vocabulary head."""
    from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    vocabulary = [*_SPECIAL, *(word for side in "dq" for topic in range(TOPICS) for word in words(topic, side))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.2,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    (BertForMaskedLM if head else BertModel)(config).save_pretrained(folder)
    return folder


def make_dense(folder: Path, *, seed: int = 0, dropout: float = 0.1) -> Path:
    """The same as a sentence-transformers model: its mean state, made of length 1."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    bare = make_encoder(folder.with_name(f"{folder.name}-bare"), head=False, seed=seed, dropout=dropout)
    transformer = Transformer(str(bare), max_seq_length=16)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(str(folder))
    return folder


def make_run(path: Path, collection: Path, *, split: str = "train") -> Path:
    """A TREC run of the split's queries: the documents of the topic first, then some of others."""
    queries = sorted(
        {line.split("\t")[0] for line in (collection / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]}
    )
    lines = []
    for query in queries:
        topic = int(query[1:]) % TOPICS
        hits = [topic + TOPICS * place for place in range(10)] + [
            other for other in range(12) if other % TOPICS != topic
        ]
        lines += [f"{query} Q0 d{hit} {rank} {100 - rank} made" for rank, hit in enumerate(hits, 1)]
    path.write_text("\n".join(lines) + "\n")
    return path
