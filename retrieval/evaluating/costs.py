"""What a system costs beside its searches: the seconds that its index took, the bytes that it takes, its models."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from retrieval.encoding import STAGES
from retrieval.pipeline import Retriever
from retrieval.protocols import Progress

__all__ = ["BuildTime", "Stopwatch", "standing_cost"]


@dataclass(frozen=True, kw_only=True)
class BuildTime:
    """What a build took that was not interrupted.

    Attributes:
        seconds: of all of it.
        encoding: those of encoding, for each part that has an encoder.
    """

    seconds: float
    encoding: Mapping[str, float] = field(default_factory=dict)

    def of(self, parts: Collection[str]) -> dict[str, float | None]:
        """Seconds without the encoding for other parts than these, and those of the encoding for these."""
        encoding = sum(seconds for part, seconds in self.encoding.items() if part in parts)
        return {"build_seconds": self.seconds - sum(self.encoding.values()) + encoding, "encode_seconds": encoding}


class Stopwatch:
    """A progress that takes the time of the work it is told of, and tells another one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began = time.perf_counter()
        self._stages: dict[str, tuple[float, float]] = {}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Note when a stage was first and last told of."""
        now = time.perf_counter()
        self._stages[stage] = (self._stages.get(stage, (now, now))[0], now)
        self._progress(stage, done, total)

    def read(self) -> BuildTime:
        """The time since it was made, and that of each encoding."""
        spans = {part: self._stages[stage] for part, stage in STAGES.items() if stage in self._stages}
        encoding = {part: last - first for part, (first, last) in spans.items()}
        return BuildTime(seconds=time.perf_counter() - self._began, encoding=encoding)


def standing_cost(retriever: Retriever, built: BuildTime | None) -> dict[str, Any]:
    """What does not depend on the queries, as `cost` in results; null where nobody knows.

    Args:
        retriever: that has answered queries, so that its models are loaded.
        built: how long its index took, if that was seen.
    """
    models = retriever.models
    seconds: dict[str, float | None] = (
        built.of(retriever.stages) if built else {"build_seconds": None, "encode_seconds": None}
    )
    sparse = retriever.index.manifest.sparse
    if "sparse" in retriever.stages and sparse and sparse.encoder is None:
        seconds["encode_seconds"] = None  # somebody else encoded its documents
    return {
        "index_bytes": retriever.index.bytes_of(retriever.stages),
        **seconds,
        "parameters": sum(model.parameters for model in models),
        "device": ", ".join(dict.fromkeys(model.device for model in models)) or "cpu",
        "stored_queries": retriever.has_stored_queries,
    }
