"""What the backward pass computes again, so that nothing but its result is kept until then."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["recomputed"]


def recomputed(learner: nn.Module, make: Callable[..., Tensor], *given: Any) -> Tensor:
    """What `make` makes of what is given; the backward pass calls it again, with the random numbers that it had.

    Of torch's two forms this is the reentrant one, which runs forward without a graph: the other's graph, small as it
    is, lies between the large tensors that are freed, so that the heap of the C library cannot give them back.

    Args:
        learner: what gradients are for; where nothing of it learns, or gradients are off, `make` is called once.
        make: tensors that it takes get no gradient.
        given: what it is called with.
    """
    learns = next((weight for weight in learner.parameters() if weight.requires_grad), None)
    if learns is None or not torch.is_grad_enabled():
        return make(*given)
    # Without a tensor that asks for one, the reentrant form gives no gradient; random numbers are kept of its device.
    asks = torch.zeros((), device=learns.device, requires_grad=True)
    found: Tensor = checkpoint(lambda _: make(*given), asks, use_reentrant=True)
    return found
