"""Domains to be routed between: each asks with words of its own, of which only its own training knows the meaning."""

import json
import random
from pathlib import Path

from retrieval.learning.routers.expert_training import Making
from retrieval.training.expert_settings import ExpertSettings
from retrieval.training.settings import TrainerSettings
from tests.training.making import words

MAKING = Making(
    settings=ExpertSettings(batch=10, query_length=16, lora=8, lora_dropout=0.0),
    optimising=TrainerSettings(lr=2e-2, checkpoint_every=0, log_every=5, device="cpu"),
    steps=40,
)


def make_domain(folder: Path, topics: tuple[int, ...], *, queries: int = 36, documents: int = 30) -> Path:
    """A BEIR folder: each query's positives are the documents of its topic; the last third of queries is test.

    Ids bear the folder's name, so that one index can hold several.
    """
    generator = random.Random(folder.name)
    # By which a base that has learned nothing tells the domains apart.
    marker = [words(topics[0], "d")[0]] * 4
    (folder / "qrels").mkdir(parents=True)
    of = {f"{folder.name}-d{n}": topics[n % len(topics)] for n in range(documents)}
    asked = {f"{folder.name}-q{n}": topics[n % len(topics)] for n in range(queries)}
    for name, side, ids, more in (("corpus", "d", of, []), ("queries", "q", asked, marker)):
        records = [
            {"_id": id_, "text": " ".join([*generator.choices(words(topic, side), k=4), *more])}
            for id_, topic in ids.items()
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    parts = {"train": list(asked)[: queries * 2 // 3], "test": list(asked)[queries * 2 // 3 :]}
    for split, some in parts.items():
        lines = [f"{query}\t{id_}\t1" for query in some for id_, topic in of.items() if topic == asked[query]]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return folder
