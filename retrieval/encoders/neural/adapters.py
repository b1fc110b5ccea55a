"""Low-rank adapters of a model's query side, in a file of their own, and several of them beside one model.

Source: Hu et al., LoRA (2021).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from retrieval.encoders.dense import is_two
from retrieval.errors import ModelError
from retrieval.files import write_whole

__all__ = ["Adapters", "query_side", "write_adapters"]

# Of the trainer's adapters, which stand alone in their model.
_ALONE = "default"


def query_side(model: Any) -> nn.Sequential:
    """The modules of a model of sentence-transformers that encode queries, in the names of one that does that alone."""
    return nn.Sequential(*(model[0].sub_modules["query"] if is_two(model) else [model[0]]), *list(model)[1:])


def write_adapters(side: nn.Module, path: Path) -> None:
    """Write the adapters of a side that has been trained with some: their matrices by the map they adapt."""
    from peft.tuners.lora import LoraLayer

    tensors: dict[str, Tensor] = {}
    alpha = 0
    for name, module in side.named_modules():
        if isinstance(module, LoraLayer):
            pair: Any = (module.lora_A[_ALONE], module.lora_B[_ALONE])
            tensors |= {f"{name}.{which}": one.weight.detach().cpu() for which, one in zip("AB", pair, strict=True)}
            alpha = module.lora_alpha[_ALONE]
    write_whole(path, save(tensors, metadata={"alpha": str(alpha)}))


class Adapters:
    """Adapters under names, of which one at a time takes part in what the side computes, or none.

    Args:
        side: of `query_side`.
    """

    def __init__(self, side: nn.Module) -> None:
        self._side = side
        self._pairs: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        self._adapted: set[str] = set()
        self._now: str | None = None

    def add(self, name: str, path: Path) -> None:
        """Read what `write_adapters` wrote.

        Raises:
            ModelError: the file cannot be read, or adapts another model.
        """
        tensors, alpha = _read(path)
        maps = dict(self._side.named_modules())
        for one in sorted({tensor.rpartition(".")[0] for tensor in tensors}):
            linear, a, b = maps.get(one), tensors.get(f"{one}.A"), tensors.get(f"{one}.B")
            if not isinstance(linear, nn.Linear) or a is None or b is None or not _fit(linear, a, b):
                raise ModelError(f"{path}: adapts a map {one!r} that the model does not have so")
            self._pairs[name, one] = (a.to(linear.weight), b.to(linear.weight) * (alpha / len(a)))
            if one not in self._adapted:
                self._adapted.add(one)
                linear.register_forward_hook(partial(self._adapt, one))

    def _adapt(self, one: str, linear: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        pair = self._pairs.get((self._now, one)) if self._now is not None else None
        return made if pair is None else made + (given[0] @ pair[0].T) @ pair[1].T

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """Within, the side computes with the adapters of that name; with None, as if it had none."""
        self._now = name
        try:
            yield
        finally:
            self._now = None


def _fit(linear: nn.Linear, a: Tensor, b: Tensor) -> bool:
    """Whether b @ a can be added to a map."""
    return linear.weight.shape == (len(b), a.shape[1]) and len(a) == b.shape[1]


def _read(path: Path) -> tuple[dict[str, Tensor], int]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, int(file.metadata()["alpha"])  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as adapters ({error})", hint="train the expert again") from error
