"""What benchmarks read of a collection beside its judgements."""

from pathlib import Path

import orjson

from retrieval.beir_eval.runs import Run


def texts_of(folder: Path, run: Run) -> dict[str, str]:
    """Title and text of the run's documents, by id."""
    wanted = {document for hits in run.values() for document in hits}
    with (folder / "corpus.jsonl").open("rb") as file:
        records = (orjson.loads(line) for line in file)
        return {one["_id"]: f"{one.get('title', '')} {one['text']}".strip() for one in records if one["_id"] in wanted}
