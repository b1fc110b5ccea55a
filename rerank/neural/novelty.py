"""What a passage is worth beside those that say the same: a head that tells such passages, and takes them into account.

The head and its rule are this project's own. The rule is that of α-nDCG (Clarke et al., "Novelty and diversity in
information retrieval evaluation", SIGIR 2008), whose n-th document on a subject gains (1 - α)^(n - 1) of what it gains
alone: in scores, which are logarithms of relevance up to a constant, log(1 - α) for each one before it. These are
counted smoothly, as in Yan et al., "Diversification-aware learning to rank using distributed representation" (WWW
2021).
"""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NoveltyHead"]

_SIZE = 128  # of the space in which passages that say the same are near each other
_ALPHA = 0.5  # of α-nDCG, as it is mostly measured
# Scores that are much less apart than this count as equal, half of each being before the other; what is less than
# _NOTHING apart is rounding, so that copies that are the same to the letter have the same score.
_TIE, _NOTHING = 0.01, 1e-4


class NoveltyHead(nn.Module):
    """Which passages say the same, from their states, and what is left of a score beside those that score higher.

    Args:
        size: H, of a state.
        generator: what draws its weights.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(_SIZE, size, generator=generator) / _SIZE**0.5)
        self.bias = nn.Parameter(torch.zeros(1))

    def alike(self, states: Tensor) -> Tensor:
        """(..., n, n) float32, the log-odds that two passages of states (..., n, H) say the same."""
        with torch.autocast(states.device.type, enabled=False):  # small differences of large numbers
            near = states.float() @ self.weight.T
            return self.bias - torch.cdist(near, near, compute_mode="donot_use_mm_for_euclid_dist") ** 2

    def forward(self, states: Tensor, scores: Tensor, sets: Tensor) -> Tensor:
        """(n,) scores less log 2 for each passage of the same set that says the same and scores higher.

        Args:
            states: (n, H).
            scores: (n,) float32, which stand for logarithms of relevance.
            sets: (n,) the number of each passage's set.
        """
        before = torch.zeros_like(scores)
        for number in torch.unique(sets):
            rows = (sets == number).nonzero()[:, 0]
            before[rows] = self._before(states[rows], scores[rows])
        return scores + log(1 - _ALPHA) * before

    def _before(self, states: Tensor, scores: Tensor) -> Tensor:
        """(n,) how many passages of a set say what a passage says, and score higher."""
        ahead = torch.sigmoid(functional.softshrink(scores - scores[:, None], _NOTHING) / _TIE)
        return (self.alike(states).sigmoid() * ahead).fill_diagonal_(0.0).sum(dim=1)
