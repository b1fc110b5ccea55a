import sys

import pytest

from retrieval.encoders.runtimes import precision
from retrieval.encoders.runtimes.precision import choose, cpu_has, for_queries
from retrieval.errors import InputError, MissingExtraError

torch = pytest.importorskip("torch")


BEST_PRECISION = precision._best_precision
"""As it is when no test is run; see tests/conftest.py."""


def on_a_cpu_with(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if this CPU computed in these precisions, and in float32."""
    monkeypatch.setattr(precision, "cpu_has", lambda name: name in ("float32", *names))


def test_a_cpu_without_bf16_gets_fp32_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to be converted for it."""
    on_a_cpu_with(monkeypatch)
    monkeypatch.setattr(precision, "_best_precision", BEST_PRECISION)
    choice = choose(device="cpu")
    assert (choice.precision, choice.runtime, choice.asked) == ("float32", "torch", False)


def test_a_cpu_with_bf16_gets_it_by_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch where OpenVINO is not installed; never int8 unasked."""
    monkeypatch.setattr(precision, "_best_precision", BEST_PRECISION)
    on_a_cpu_with(monkeypatch, "bfloat16", "int8")
    monkeypatch.setattr(precision, "find_spec", lambda name: object())
    choice = choose(device="cpu")
    assert (choice.precision, choice.runtime) == ("bfloat16", "openvino")
    monkeypatch.setattr(precision, "find_spec", lambda name: None)
    assert choose(device="cpu").runtime == "torch"


def test_precisions_have_two_names() -> None:
    """The short one of the command line and the one on cards."""
    assert choose("fp32", device="cpu") == choose("float32", device="cpu")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"precision": "fp64"}, "precision is 'fp64'"),
        ({"runtime": "tensorflow"}, "runtime is 'tensorflow'"),
        ({"precision": "int8", "runtime": "torch"}, "torch runs no model in int8"),
        ({"precision": "bf16", "runtime": "onnx"}, "onnx runs no model in bfloat16"),
        ({"precision": "int8", "device": "cuda"}, "openvino runs models on the CPU"),
        ({"precision": "bf16", "runtime": "openvino"}, "this CPU has no bfloat16"),
    ],
)
def test_what_does_not_go_together(asked: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is an error that says so."""
    on_a_cpu_with(monkeypatch)
    monkeypatch.setattr(precision, "_there", str)
    with pytest.raises(InputError, match=message):
        choose(**{"device": "cpu", **asked})


@pytest.mark.parametrize(("asked", "package"), [({"runtime": "onnx"}, "onnxruntime"), ({"precision": "int8"}, "nncf")])
def test_a_package_that_is_missing(asked: dict[str, str], package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it."""
    on_a_cpu_with(monkeypatch, "int8")
    monkeypatch.setattr(precision, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(MissingExtraError, match=package):
        choose(device="cpu", **asked)


def test_a_precision_that_the_cpu_lacks_is_told_to_be_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is what was asked for, so it is done."""
    on_a_cpu_with(monkeypatch)
    assert choose("bf16", device="cpu").precision == "bfloat16"
    assert "slower" in caplog.text


def test_queries_are_encoded_in_float32_on_a_cpu() -> None:
    """On a GPU in the documents' precision, which int8 is not."""
    assert {for_queries(name, "cpu") for name in ("float32", "bfloat16", "float16", "int8")} == {"float32"}
    assert for_queries("bfloat16", "cuda:1") == "bfloat16"
    assert for_queries("int8", "cuda") == "float32"


def test_nothing_is_asked_of_torch_where_it_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of query weights serves where torch is not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)
    assert for_queries("float32") == for_queries("int8") == "float32"
    assert choose("fp32", device="cpu").device == "cpu"


def test_a_gpu_with_bf16_gets_it_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without it gets float32."""
    monkeypatch.setattr(precision, "_best_precision", BEST_PRECISION)
    monkeypatch.setattr(precision, "_there", str)
    for has_it, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(precision, "_gpu_has_bf16", lambda has_it=has_it: has_it)
        choice = choose(device="cuda")
        assert (choice.precision, choice.runtime) == (expected, "torch")
        assert choice.batching(None).multiple == 8


def test_a_device_that_torch_does_not_know_is_an_error() -> None:
    """It is named, before any model is loaded."""
    with pytest.raises(InputError, match="torch knows no device 'gpu'"):
        choose("fp32", device="gpu")


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """And the CPU runs the model."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose("fp32", device="cuda:1").device == "cpu"
    assert "no GPU for device cuda:1" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_every_cpu_has_float32() -> None:
    """And says of the others whether it has them."""
    assert cpu_has("float32")
    assert {cpu_has(name) for name in ("bfloat16", "float16", "int8")} <= {True, False}


def test_a_batch_holds_a_token() -> None:
    """Or more."""
    choice = choose("fp32", device="cpu")
    assert choice.batching(100).tokens == 100
    assert choice.batching(None).tokens >= 1024
    with pytest.raises(InputError, match="batch tokens are 0"):
        choice.batching(0)
