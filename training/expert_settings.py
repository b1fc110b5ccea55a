"""What can be set of the experts of a router. Nothing here needs torch."""

from dataclasses import dataclass
from typing import Any

from retrieval.errors import InputError
from retrieval.training.settings import DenseSettings, check_least, check_shares

__all__ = ["ExpertSettings"]


@dataclass(frozen=True, kw_only=True)
class ExpertSettings(DenseSettings):
    """A router's experts' own settings, beside those of all; documents are not encoded, but have their index' vectors.

    Attributes:
        negatives_per_query: hard ones for each query, of files; with 0 there are those of the batch alone.
        lora: dimensions of the low-rank adapters, which alone are trained.
        lora_alpha: what they add is multiplied by this, over their dimensions.
        lora_dropout: share of what goes into them that is left out, at random, in training.
    """

    negatives_per_query: int = 0
    lora: int | None = 8
    lora_alpha: int = 32
    lora_dropout: float = 0.1

    @property
    def adapters(self) -> dict[str, Any]:
        """What they have beside their dimensions."""
        return {"alpha": self.lora_alpha, "dropout": self.lora_dropout}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "lora_alpha")
        check_shares(self, "lora_dropout")
        if self.lora is None:
            raise InputError("an expert is made of low-rank adapters", hint="say of how many dimensions: lora")
        if self.mined or self.refresh:
            raise InputError("an expert's hard negatives come from files", hint="retrieval mine, and --negatives FILE")
