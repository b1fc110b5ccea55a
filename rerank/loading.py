"""A reranker by its model: whatever kind it is of."""

from retrieval.encoders.models import snapshot
from retrieval.protocols import Reranker
from retrieval.rerank.cross_encoder import PairScorer

__all__ = ["load_reranker"]


def load_reranker(model: str, *, device: str | None = None, precision: str | None = None) -> Reranker:
    """A set-encoder, which reads passages side by side, or a cross-encoder or a monoT5, which reads each for itself.

    Args:
        model: a local folder or a model of the Hugging Face hub.
        device: torch's name of a device; None takes the best there is.
        precision: `fp32`, `bf16`, `fp16`, `int8`, or `auto`, which None stands for.

    Raises:
        MissingExtraError, ModelError, InputError: see `PairScorer` and `SetScorer`.
    """
    folder, _ = snapshot(model)
    if not (folder / "config.json").is_file():
        return PairScorer(model, device=device, precision=precision)
    from retrieval.rerank.neural.set_layout import is_set_encoder
    from retrieval.rerank.set_encoder import SetScorer

    scorer = SetScorer if is_set_encoder(folder) else PairScorer
    return scorer(model, device=device, precision=precision)
