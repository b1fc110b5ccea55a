"""What the reranking benchmark measures: a process that holds one cross-encoder and does what it is asked."""

import time
from pathlib import Path
from typing import Any

import orjson
from encode_engines import ENGINES as ENCODERS
from encode_engines import PEER
from encode_engines import missing as missing_encoder
from workers import serve

from retrieval.beir_eval.cost import peak_bytes

# Of those that encode, the ones that score pairs as well, and the ones that run set-encoders.
_FLOATS = ("torch-fp32", "openvino-fp32", "torch-bf16", "openvino-bf16")
SET = "set-"
ENGINES = {name: ENCODERS[name] for name in (*_FLOATS, "openvino-int8")} | {SET + n: ENCODERS[n] for n in _FLOATS}

# Passages of a query that are scored before the clock starts.
_WARM = 16

Lists = list[list[str]]

__all__ = ["ENGINES", "PEER", "SET", "missing"]


def missing(name: str) -> str | None:
    """Why an engine cannot run here; None if it can."""
    return missing_encoder(name.removeprefix(SET))


class Engine:
    """One of ours, or sentence-transformers."""

    def load(self, engine: str, model: str, sets: str, threads: int, cpu_time: bool) -> dict[str, Any]:
        """Load the cross-encoder, or the set-encoder."""
        import torch

        torch.set_num_threads(threads)
        self.clock = time.process_time if cpu_time else time.perf_counter
        self.is_peer, self.is_set, begun = engine == PEER, engine.startswith(SET), time.perf_counter()
        if self.is_peer:
            from sentence_transformers import CrossEncoder

            self.model: Any = CrossEncoder(model, device="cpu")
        else:
            from retrieval.rerank.cross_encoder import PairScorer
            from retrieval.rerank.set_encoder import SetScorer

            scorer, folder = (SetScorer, sets) if self.is_set else (PairScorer, model)
            self.model = scorer(folder, **ENGINES[engine])
        return {"load": time.perf_counter() - begun}

    def prepare(self, asked: str) -> dict[str, Any]:
        """Calibrate, and score a few."""
        given = orjson.loads(Path(asked).read_bytes())
        self.queries, self.lists = given["queries"], given["lists"]
        begun, made = time.perf_counter(), {}
        if not (self.is_peer or self.is_set) and self.model.sample:
            share = -(-self.model.sample // len(given["calibrating"]))
            lists = [passages[:share] for passages in given["calibrating"].values()]
            self.model.calibrate(list(given["calibrating"]), lists)
            made = {"calibration": time.perf_counter() - begun}
        self._scores(self.queries[:1], [self.lists[0][:_WARM]])
        return made

    def _scores(self, queries: list[str], lists: Lists) -> list[list[float]]:
        """Of each query's passages, in their order."""
        if not self.is_peer:
            return [scores.tolist() for scores in self.model.score_lists(queries, lists)]
        found = []
        for query, passages in zip(queries, lists, strict=True):
            ranked = self.model.rank(query, passages, show_progress_bar=False)
            scores = {one["corpus_id"]: float(one["score"]) for one in ranked}
            found.append([scores[place] for place in range(len(passages))])
        return found

    def score(self) -> dict[str, Any]:
        """All pairs, once."""
        begun = self.clock()
        self._scores(self.queries, self.lists)
        return {"seconds": self.clock() - begun, "peak": peak_bytes()}

    def rank(self, asked: str) -> dict[str, Any]:
        """Scores of other queries' passages."""
        given = orjson.loads(Path(asked).read_bytes())
        return {"scores": self._scores(given["queries"], given["lists"])}


if __name__ == "__main__":
    serve(Engine())
