"""What the [INT] of a new set-encoder begins with: what leaves a passage's score as it is without the others.

A cross-encoder that becomes a set-encoder has never met the marks of other passages, and a hundred of them upset the
order that it knows. At the rate at which its weights learn, an embedding hardly moves; so [INT]'s learns first, alone
and faster. The step is this project's own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from retrieval.encoders.models import evaluating
from retrieval.protocols import Progress, silent
from retrieval.rerank.neural.set_encoder import Member, SetEncoder
from retrieval.rerank.set_encoder import set_blocks
from retrieval.training.pairs import batching, in_order

__all__ = ["settle"]

_RATE = 3e-3  # the highest; it falls to 0 in a straight line


def settle(
    model: SetEncoder,
    lists: Sequence[Sequence[tuple[str, str]]],
    *,
    max_length: int | None = None,
    progress: Progress = silent,
) -> None:
    """Train the embedding of [INT] alone, one step of Adam for each list.

    The loss is the mean over a list's passages of (s - a)^2, s being the score among the others and a without them,
    both less their mean over the list.

    Args:
        model: has an [INT]; without dropout meanwhile.
        lists: of a query and a passage, of one query each; about as many as are to be read together in use.
        max_length: tokens of query and passage together that are read.
        progress: told of lists.
    """
    words = model.backbone.get_input_embeddings().weight
    mark = nn.Parameter(words[model.mark].detach().clone())
    optimizer = torch.optim.Adam([mark], lr=_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=max(1, len(lists)))
    with evaluating(model):
        for done, pairs in enumerate(lists, 1):
            (gradient,) = torch.autograd.grad(_upset(model, pairs, max_length), words)
            mark.grad = gradient[model.mark]
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                words[model.mark] = mark
            progress("settling [INT]", done, len(lists))
    model.is_unsettled = False


def _upset(model: SetEncoder, pairs: Sequence[tuple[str, str]], max_length: int | None) -> Tensor:
    """The loss of a list."""
    scores = _scores(model, [(0, *pair) for pair in pairs], max_length)
    with torch.no_grad():
        alone = _scores(model, [(number, *pair) for number, pair in enumerate(pairs)], max_length)
    return torch.mean((scores - scores.mean() - alone + alone.mean()) ** 2)


def _scores(model: SetEncoder, members: Sequence[Member], max_length: int | None) -> Tensor:
    places, blocks = set_blocks(model, members, batching(model), max_length)
    return in_order([model.scores(model.states(*blocks).first)], places)
