"""OpenVINO: a model of torch converted, compiled for the CPU, and run."""

import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from retrieval.encoders.models import quiet
from retrieval.errors import ModelError

__all__ = ["OpenVinoBody", "convert", "load_openvino", "without_reports"]

# Who imports a package without another must be the only one.
_IMPORTING = threading.Lock()


class OpenVinoBody:
    """Features to what a model makes of them, by OpenVINO on the CPU, on as many threads as torch would use.

    Args:
        model: of OpenVINO, from `convert` or a file.
        names: the features that it reads, in its order.
        precision: of its floats, `float32` or `bfloat16`.
    """

    def __init__(self, model: Any, names: Sequence[str], precision: str) -> None:
        import torch

        openvino = load_openvino()
        settings = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            # A thread that is bound to a core waits for that one, whatever else runs there, while others stand idle.
            "ENABLE_CPU_PINNING": False,
        }
        self._names = list(names)
        self._model = openvino.Core().compile_model(model, "CPU", settings)
        # A request holds what goes in and comes out: each thread has one of its own.
        self._own = threading.local()

    def __call__(self, features: Mapping[str, Any]) -> Any:
        """The model's first output, float32 on the CPU; of an encoder (n, length, H)."""
        import torch

        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        given = [features[name].contiguous().numpy() for name in self._names]
        return torch.from_numpy(self._own.request.infer(given, share_inputs=True)[0])


def convert(module: Any, example: Mapping[str, Any], name: str) -> Any:
    """A module that takes a mapping of features, as a model of OpenVINO whose inputs are those of the example.

    Raises:
        ModelError: it cannot be converted.
    """
    import torch

    from retrieval.encoders.neural.states import Positional

    openvino = load_openvino()
    positional = Positional(module, list(example)).eval()
    try:
        with quiet(), warnings.catch_warnings(), torch.no_grad():
            # Of tracing, and of what transformers does while it is traced: nothing a caller can do about it.
            warnings.simplefilter("ignore")
            model = openvino.convert_model(positional, example_input=tuple(example.values()))
    except Exception as error:  # of many kinds, by what in a model it does not know
        raise ModelError(f"model {name!r} cannot be converted to OpenVINO: {error}", hint="--runtime torch") from error
    if len(model.inputs) != len(example):
        raise ModelError(f"model {name!r} reads not all of {', '.join(example)} in OpenVINO", hint="--runtime torch")
    for place, feature in zip(model.inputs, example, strict=True):
        place.get_tensor().set_names({feature})
    return model


def load_openvino() -> Any:
    """The package; where nobody has imported it before, it reports nothing, see `without_reports`."""
    with without_reports():
        import openvino
        import openvino.tools.ovc.convert_impl
    return openvino


@contextmanager
def without_reports() -> Iterator[None]:
    """Within, OpenVINO and nncf are imported as if there were no `openvino_telemetry`.

    By it they tell Google Analytics of each import, conversion and quantisation, unless a user has declined.
    """
    name = "openvino_telemetry"
    with _IMPORTING:
        before = {name: sys.modules[name]} if name in sys.modules else {}
        sys.modules[name] = None  # type: ignore[assignment]  # as Python marks what cannot be imported
        try:
            yield
        finally:
            del sys.modules[name]
            sys.modules.update(before)
