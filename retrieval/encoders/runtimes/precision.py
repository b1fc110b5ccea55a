"""In which precision, by which runtime and where a model is run: what was asked for, and what this machine has."""

import logging
import platform
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from retrieval.encoders.runtimes.pipeline import Batching
from retrieval.errors import InputError, MissingExtraError

__all__ = ["PRECISIONS", "RUNTIMES", "Choice", "choose", "cpu_has", "for_queries", "precision_name"]

_LOG = logging.getLogger("retrieval")

# As people write them, and as cards do.
_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}
PRECISIONS = ("auto", *_NAMES)
RUNTIMES = ("auto", "torch", "openvino", "onnx")

_CAN = {
    "torch": ("float32", "bfloat16", "float16"),
    "openvino": ("float32", "bfloat16", "int8"),
    "onnx": ("float32",),
}
# What a CPU says of itself where it computes in a precision, and not by way of another: x86's words and Arm's.
_FLAGS = {
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
    "float16": {"avx512_fp16", "amx_fp16", "asimdhp"},
    "int8": {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"},
}

# Padded tokens that go through a model together: as many as a core's cache keeps near, and as fill a GPU.
_CPU_TOKENS, _CPU_TOKENS_OF_A_THREAD = 2048, 512
_GPU_TOKENS, _GPU_MULTIPLE = 32_768, 8


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a model is run.

    Attributes:
        device: torch's name of it.
        precision: of the arithmetic, as cards name it: `float32`, `bfloat16`, `float16` or `int8`.
        runtime: `torch`, `openvino` or `onnx`.
        asked: whether the runtime was asked for; if not, torch may take its place.
    """

    device: str
    precision: str
    runtime: str
    asked: bool = False

    @property
    def floats(self) -> str:
        """The precision of what is not quantised."""
        return "float32" if self.precision == "int8" else self.precision

    def batching(self, tokens: int | None, *, whole: bool = False) -> Batching:
        """How much goes through the model together; `tokens` where somebody knows better.

        Raises:
            InputError: fewer than one token.
        """
        if tokens is not None and tokens < 1:
            raise InputError(f"batch tokens are {tokens}: a batch holds at least one")
        if self.device.split(":")[0] == "cpu":
            import torch

            return Batching(tokens=tokens or max(_CPU_TOKENS, _CPU_TOKENS_OF_A_THREAD * torch.get_num_threads()))
        return Batching(tokens=tokens or _GPU_TOKENS, multiple=_GPU_MULTIPLE, whole=whole)


def choose(precision: str | None = None, runtime: str | None = None, device: str | None = None) -> Choice:
    """Settle what was left to be chosen: None, or `auto`.

    `auto` takes bf16 where the CPU computes in it, or the GPU; else fp32, never int8. It takes OpenVINO for bf16 and
    int8 on a CPU, else torch, which has nothing to convert.

    Args:
        precision: one of PRECISIONS, or a card's name of one.
        runtime: one of RUNTIMES.
        device: torch's name of one; None takes the best there is.

    Raises:
        InputError: an unknown one, or a device that torch does not know, or a runtime that cannot have this precision
            on this device.
        MissingExtraError: torch or the runtime asked for is not installed.
    """
    precision, runtime = precision_name(precision or "auto"), runtime or "auto"
    if runtime not in RUNTIMES:
        raise InputError(f"runtime is {runtime!r}", hint=f"one of {', '.join(RUNTIMES)}")
    device = _there(device) if device else _best_device()
    on_cpu = device.split(":")[0] == "cpu"
    if precision == "auto":
        precision = _best_precision(on_cpu, runtime)
    asked = runtime != "auto"
    if not asked:
        runtime = _best_runtime(precision, on_cpu)
    _check(precision, runtime, on_cpu)
    _warn_of_slowness(precision, on_cpu)
    return Choice(device=device, precision=precision, runtime=runtime, asked=asked)


def for_queries(precision: str, device: str | None = None) -> str:
    """In which precision queries are encoded, where documents are in this one: on a CPU in float32, else the same.

    A query is a few tokens, so that nothing is saved by less, whose errors would be on both sides then.
    """
    if precision in ("float32", "int8"):
        return "float32"  # whatever the device: to ask for one needs torch, and a table of query weights needs none
    on_cpu = (device or _best_device()).split(":")[0] == "cpu"
    return "float32" if on_cpu else precision


@cache
def cpu_has(precision: str) -> bool:
    """Whether this CPU computes in a precision by instructions of its own.

    Beyond Linux, which says it in /proc/cpuinfo, only Apple's are known.
    """
    if precision == "float32":
        return True
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return precision != "bfloat16" and platform.machine() == "arm64"
    lines = (line for line in info.read_text().splitlines() if line.lower().startswith(("flags", "features")))
    return bool(_FLAGS[precision] & set(next(lines, "").split()))


def precision_name(name: str) -> str:
    """A precision as cards name it; `auto` stays.

    Raises:
        InputError: there is no such precision.
    """
    if name not in (*PRECISIONS, *_NAMES.values()):
        raise InputError(f"precision is {name!r}", hint=f"one of {', '.join(PRECISIONS)}")
    return _NAMES.get(name, name)


def _there(device: str) -> str:
    """The device, or the CPU, with a warning, where a GPU was asked for and torch sees none."""
    if device == "cpu":
        return device
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "models", "encoding") from error
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(f"torch knows no device {device!r}", hint="cpu, cuda, cuda:1 or mps") from error
    if kind != "cuda" or torch.cuda.is_available():
        return device
    _LOG.warning("no GPU for device %s: the CPU runs the model", device)
    return "cpu"


def _best_device() -> str:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "models", "encoding") from error
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _best_precision(on_cpu: bool, runtime: str) -> str:
    if runtime == "onnx":
        return "float32"
    if on_cpu:
        return "bfloat16" if cpu_has("bfloat16") else "float32"
    return "bfloat16" if _gpu_has_bf16() else "float32"


def _gpu_has_bf16() -> bool:
    import torch

    return torch.cuda.is_available() and bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _best_runtime(precision: str, on_cpu: bool) -> str:
    if precision == "int8":
        return "openvino"
    pays = on_cpu and precision == "bfloat16" and cpu_has(precision) and find_spec("openvino") is not None
    return "openvino" if pays else "torch"


def _check(precision: str, runtime: str, on_cpu: bool) -> None:
    """An error if a runtime cannot do that, or is not there."""
    if precision not in _CAN[runtime]:
        raise InputError(f"{runtime} runs no model in {precision}", hint="leave out the runtime: --runtime auto")
    if runtime == "torch":
        return
    if not on_cpu:
        raise InputError(f"{runtime} runs models on the CPU", hint="name it: --device cpu, or leave out the runtime")
    if precision == "bfloat16" and not cpu_has(precision):
        raise InputError("OpenVINO would compute in float32: this CPU has no bfloat16", hint="--precision fp32")
    package = {"openvino": "openvino", "onnx": "onnxruntime"}[runtime]
    extra = {"openvino": "models", "onnx": "onnx"}[runtime]
    if find_spec(package) is None:
        raise MissingExtraError(package, extra, f"the runtime {runtime}")
    if precision == "int8" and find_spec("nncf") is None:
        raise MissingExtraError("nncf", "int8", "int8")


def _warn_of_slowness(precision: str, on_cpu: bool) -> None:
    if on_cpu and not cpu_has(precision):
        _LOG.warning("this CPU has no instructions for %s: a model is slower in it than in float32", precision)
