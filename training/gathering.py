"""Vectors of a step that several processes make a share of each, so that all compute the loss of one large batch.

Every process draws the same batch, encodes its share of the texts, and gets the others' vectors. As each then has the
whole loss, and the mean of their gradients is taken, a gradient that goes back through here is multiplied by their
number: what is learned is what one process would learn of the same batch.

Gradients are averaged after the backward pass, all at once, and not by DistributedDataParallel during it: that must see
one forward pass for each backward one, of all parameters, which a retriever and a ranker in turns do not give it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

__all__ = ["average_gradients", "first_alone", "gathered", "processes", "share_weights", "shares"]


def processes() -> tuple[int, int]:
    """Which process this is, from 0, and how many there are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


@contextmanager
def first_alone(device: str | None) -> Iterator[None]:
    """What is done within is done by the first process, and only then by the others, which find what it left."""
    from accelerate import PartialState

    with PartialState(cpu=device == "cpu").main_process_first():
        yield


def shares(n: int, rank: int, world: int) -> list[int]:
    """The places of n that are this process' to do: as many as the others'; some come twice where that is not even."""
    each = -(-n // world)
    return [(rank * each + place) % n for place in range(each)] if n else []


def gathered(own: Tensor, n: int, rank: int, world: int) -> Tensor:
    """(n, ...) what all processes made of their shares, in order, of what this one made of its own."""
    if world == 1:
        return own
    together: Tensor = _Gather.apply(own, rank, world)  # type: ignore[no-untyped-call]
    return together[:n]


@torch.no_grad()
def share_weights(model: nn.Module) -> None:
    """Put the first process' weights in place of the others': new layers are drawn at random."""
    if processes()[1] > 1:
        for tensor in model.state_dict().values():
            distributed.broadcast(tensor, src=0)


@torch.no_grad()
def average_gradients(model: nn.Module, world: int) -> None:
    """Put the mean over all processes in place of each gradient; all processes must have the same ones."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    together /= world
    for gradient, mean in zip(gradients, torch.split(together, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, rank: int, world: int) -> Tensor:
        ctx.place, ctx.world = rank * len(own), world
        ctx.rows = len(own)
        # NCCL sends from GPUs alone.
        sent = own.contiguous().cuda() if distributed.get_backend() == "nccl" else own.contiguous()
        parts = [torch.empty_like(sent) for _ in range(world)]
        distributed.all_gather(parts, sent)
        return torch.cat(parts).to(own.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.place : ctx.place + ctx.rows] * ctx.world, None, None
