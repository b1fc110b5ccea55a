"""int8: a model of OpenVINO quantised by texts of the corpus that it is to read, and kept for the next time."""

import hashlib
import io
import json
import logging
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.runtimes.bodies import Body, example_of
from retrieval.encoders.runtimes.openvino_body import OpenVinoBody, convert, load_openvino, without_reports
from retrieval.errors import ModelError
from retrieval.files import sha256_of, sync_folder, sync_tree
from retrieval.types import EncoderCard

__all__ = [
    "CALIBRATED_BY",
    "CHECKED_BY",
    "Calibration",
    "calibrated",
    "cosines",
    "int8_body",
    "kept_by_digest",
    "quantise",
    "reading",
]

CALIBRATED_BY, CHECKED_BY = 128, 64
"""Texts, or pairs, that set the scales of a model, and others by which it is compared with the model in float32."""

T = TypeVar("T", str, tuple[str, str])

_BESIDE = "retrieval-int8"
# Tokens of a text that calibrates: longer ones have states of the same kind, and cost more than their length.
_LENGTH = 256
_MODEL, _ABOUT = "model.xml", "calibration.json"
_PACKAGES = ("openvino", "nncf")

Make = Callable[[], Any]
"""Makes the quantised model of OpenVINO; called where none is kept."""

Compare = Callable[[Path], NDArray[np.float64]]
"""How near what a model in a file computes is to what the model in float32 does: 1 is the same."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A quantised model that is kept, and how near it is to what it was made of.

    Attributes:
        quantised: a digest of its files.
        mean, least: cosine of its vectors with those of the model in float32, or correlation of its scores.
        texts: how many it was compared by, or how many lists of passages.
        measure: `cosine` or `correlation`.
    """

    quantised: str
    mean: float
    least: float
    texts: int
    measure: str = "cosine"

    def __str__(self) -> str:
        by = "texts" if self.measure == "cosine" else "lists of passages"
        return (
            f"int8: {self.measure} with float32 {self.mean:.4f} on average, {self.least:.4f} at least, "
            f"of {self.texts} {by} of the corpus"
        )


def calibrated(
    weights: str, texts: Sequence[T], source: str, make: Make, compare: Compare, measure: str = "cosine"
) -> tuple[Path, Calibration]:
    """The file of the model that these texts calibrate, made now if it is not kept; and how near it is.

    Args:
        weights: a digest of the model in float32, with all that decides how it reads a text.
        texts: of the corpus: those that calibrate it.
        source: the model's folder, or its name.
        make: makes it.
        compare: measures it.
        measure: what that is called.
    """
    key = _key(weights, texts)
    for root in _roots(source):
        if found := _read(root / key):
            return root / key / _MODEL, found
    roots = [root for root in _roots(source) if _can_write(root)]
    if not roots:
        raise ModelError(
            f"the int8 model cannot be kept: nothing can be written to {' or '.join(map(str, _roots(source)))}",
            hint="name a place: XDG_CACHE_HOME",
        )
    root = roots[0]
    with _new_folder(root, key) as folder:
        load_openvino().save_model(make(), folder / _MODEL, compress_to_fp16=False)
        near = compare(folder / _MODEL)
        figures = {"mean": float(near.mean()), "least": float(near.min()), "texts": len(near), "measure": measure}
        made = Calibration(quantised=_digest(folder), **figures)  # type: ignore[arg-type]
        (folder / _ABOUT).write_text(json.dumps(asdict(made), indent=2) + "\n", encoding="utf-8")
    return root / key / _MODEL, made


def int8_body(
    module: Any,
    tokenize: Callable[[list[T]], Mapping[str, Any]],
    texts: Sequence[T],
    *,
    name: str,
    weights: str,
    source: str,
    near: Callable[[Sequence[T], Body], NDArray[np.float64]],
    measure: str = "cosine",
    exact: Sequence[str] = (),
) -> tuple[Body, Calibration]:
    """What runs a module in int8, calibrated by texts of the corpus, or kept from an earlier calibration by them.

    Args:
        module: takes features and gives states, in float32 on the CPU.
        tokenize: texts, or pairs of them, to features.
        texts: first those that calibrate, last those by which it is compared; the same where there are few.
        name: of the model, for errors.
        weights: a digest of the model in float32, with all that decides how it reads a text.
        source: the model's folder, or its name.
        near: how near what a body makes of texts is to what torch does.
        measure: what that is called.
        exact: names of layers that stay in float32.
    """
    by, checked = texts[:CALIBRATED_BY], texts[-CHECKED_BY:]
    names = list(example_of(tokenize(list(by[:1]))))

    def make() -> Any:
        batches = [
            {name: values[:, :_LENGTH].numpy() for name, values in example_of(tokenize([text])).items()} for text in by
        ]
        return quantise(convert(module, example_of(tokenize(list(by[:2]))), name), batches, exact)

    def compare(path: Path) -> NDArray[np.float64]:
        return near(checked, OpenVinoBody(path, names, "float32"))

    path, calibration = calibrated(weights, by, source, make, compare, measure)
    return OpenVinoBody(path, names, "float32"), calibration


def reading(card: EncoderCard) -> str:
    """All that decides how an encoder in float32 reads a text, as `int8_body` wants it."""
    return f"{card.weights} {card.max_length} {card.prompts}"


def kept_by_digest(quantised: str, source: str) -> Path:
    """The file of the quantised model with this digest.

    Raises:
        ModelError: it is not kept any more.
    """
    for root in _roots(source):
        for folder in sorted(root.glob("*")) if root.is_dir() else ():
            found = _read(folder)
            if found and found.quantised == quantised:
                return folder / _MODEL
    raise ModelError(
        f"the int8 model {quantised} of {source!r} is not kept here any more",
        hint="encode what is added in floats, whose vectors can be compared: --precision fp32",
    )


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) cosines of the rows of two arrays; of two rows of zeros 1."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = np.einsum("nd,nd->n", one, other)
    same = np.all(one == other, axis=1)
    return np.where(same, 1.0, products / np.where(norms > 0, norms, 1.0))


def quantise(model: Any, batches: Sequence[Mapping[str, NDArray[np.int64]]], exact: Sequence[str] = ()) -> Any:
    """A transformer of OpenVINO with products in int8, scales set by the batches, outliers of activations smoothed.

    Source: Xiao et al., SmoothQuant (2023), as nncf does it.

    Args:
        model: of OpenVINO.
        batches: features.
        exact: names of layers that stay as they are.
    """
    # Its log goes to what stdout is when it is imported, where our data goes.
    with redirect_stdout(sys.stderr), without_reports():
        import nncf
    logging.getLogger("nncf").setLevel(logging.ERROR)
    kept = nncf.IgnoredScope(patterns=[rf".*\b{name}\b.*" for name in exact], validate=False)
    given = {"model_type": nncf.ModelType.TRANSFORMER, "subset_size": len(batches), "ignored_scope": kept}
    with redirect_stdout(io.StringIO()):  # its bars, which say nothing that our log does not
        return nncf.quantize(model, nncf.Dataset(list(batches)), **given)


def _key(weights: str, texts: Sequence[T]) -> str:
    """What decides a quantised model: parameters, texts and packages; not the CPU's kind of arithmetic."""
    digest = hashlib.sha256(weights.encode())
    for package in _PACKAGES:
        digest.update(f"\n{package} {version(package)}".encode())
    for text in texts:
        digest.update(b"\0" + (text if isinstance(text, str) else "\0".join(text)).encode())
    return digest.hexdigest()[:32]


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.name != _ABOUT)
    lines = "".join(f"{path.name}:{sha256_of(path)}\n" for path in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _read(folder: Path) -> Calibration | None:
    """What is known of a kept model; None where there is none, or not as it was written."""
    try:
        found = Calibration(**json.loads((folder / _ABOUT).read_text(encoding="utf-8")))
        return found if _digest(folder) == found.quantised else None
    except (OSError, ValueError, TypeError):
        return None


def _roots(source: str) -> Iterator[Path]:
    """Where quantised models of a model are kept: beside it if it is a folder of the user's own, else in a cache."""
    folder = Path(source)
    installed = Path(sysconfig.get_path("purelib"))
    if folder.is_dir() and installed not in folder.resolve().parents:
        yield folder / _BESIDE
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    yield Path(cache) / "retrieval" / "int8"


def _can_write(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return True
    except OSError:
        return False


@contextmanager
def _new_folder(root: Path, name: str) -> Iterator[Path]:
    """A folder that takes its place when all is written; one that another process made in the meantime stays."""
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    try:
        yield folder
        sync_tree(folder)
        if not _read(root / name):
            shutil.rmtree(root / name, ignore_errors=True)
        try:
            folder.rename(root / name)
        except OSError:
            if not _read(root / name):
                raise
        sync_folder(root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
