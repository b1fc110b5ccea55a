"""ONNX Runtime: a model of torch exported, and run on the CPU."""

import io
import warnings
from collections.abc import Mapping
from typing import Any

from retrieval.encoders.models import quiet
from retrieval.errors import ModelError

__all__ = ["OnnxBody"]

_OPSET = 17


class OnnxBody:
    """Features to the states of their tokens, by ONNX Runtime, on as many threads as torch would use, in float32.

    Args:
        module: takes a mapping of features.
        example: of features.
        name: of the model, for errors.

    Raises:
        ModelError: it cannot be exported.
    """

    def __init__(self, module: Any, example: Mapping[str, Any], name: str) -> None:
        import onnxruntime
        import torch

        self._names = list(example)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        content = _exported(module, example, name)
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, features: Mapping[str, Any]) -> Any:
        """(n, length, H) float32 on the CPU."""
        import torch

        given = {name: features[name].contiguous().numpy() for name in self._names}
        return torch.from_numpy(self._session.run(None, given)[0])


def _exported(module: Any, example: Mapping[str, Any], name: str) -> bytes:
    import torch

    from retrieval.encoders.neural.states import Positional

    content = io.BytesIO()
    axes = {feature: {0: "texts", 1: "tokens"} for feature in (*example, "states")}
    try:
        with quiet(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Positional(module, list(example)).eval(),
                tuple(example.values()),
                content,  # type: ignore[arg-type] # this exporter writes to what is open, too
                input_names=list(example),
                output_names=["states"],
                dynamic_axes=axes,
                opset_version=_OPSET,
                # The other exporter needs a package more, and makes the same graph.
                dynamo=False,
            )
    except Exception as error:  # of many kinds, by what in a model it does not know
        raise ModelError(f"model {name!r} cannot be exported to ONNX: {error}", hint="--runtime torch") from error
    return content.getvalue()
