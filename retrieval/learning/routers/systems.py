"""A router over systems: what each scores on training queries, and a linear function of a query's features for each.

The folder of a router holds `router.json`, written last, and `scores/NAME.json` for each data set: what the systems
score on its queries and take for them, kept as each is done, so that an interrupted run goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.beir_eval.datasets import Collection, check_fit, load_collection
from retrieval.errors import CollectionError, InputError, MissingExtraError
from retrieval.evaluating.running import evaluate
from retrieval.files import write_whole
from retrieval.index_models import load_query_encoder, load_sparse_query_encoder
from retrieval.indexing import Index
from retrieval.learning.dense import read_data
from retrieval.learning.routers.pilots import MEASURE
from retrieval.pipeline import Retriever, parse_using
from retrieval.protocols import Progress, silent
from retrieval.reranking import Reranking
from retrieval.routing.manifest import ROUTER, System, SystemsManifest, write_router
from retrieval.routing.rules import check_margin
from retrieval.routing.systems import FEATURES, features_of, parse_system, parts_of
from retrieval.training.settings import DataSettings

__all__ = [
    "Linear",
    "check_systems",
    "fit_linear",
    "make_system_router",
    "query_sides",
    "retrievers_of",
    "search_queries",
]

# Queries fewer than which say nothing of so many features.
_LEAST = 2 * len(FEATURES)
_ALPHAS = np.logspace(-2, 4, 13)
_DEPTH = 10
# A feature that deviates by less than this, of its mean, is constant.
_CONSTANT = 1e-9

Scores = dict[str, Any]


@dataclass(frozen=True)
class Linear:
    """A linear function of scaled features for each of m systems.

    Attributes:
        means, scales: (f,) of the features.
        coefficients: (m, f).
        intercepts: (m,).
    """

    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]


def fit_linear(features: NDArray[np.float64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> Linear:
    """Ridge regressions of scores (n, m) on features (n, f); each one's penalty is chosen by leaving queries out.

    Args:
        features: of n queries.
        scores: of m systems on them.
        weights: (n,) how much each query counts.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import RidgeCV
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "train", "a router over systems") from error
    means = np.average(features, axis=0, weights=weights)
    deviations = np.sqrt(np.average((features - means) ** 2, axis=0, weights=weights))
    # What is left of a constant feature is rounding, which is not to be made large.
    scales = np.where(deviations > _CONSTANT * np.maximum(1, np.abs(means)), deviations, 1.0)
    ridge = RidgeCV(alphas=_ALPHAS, alpha_per_target=True)
    ridge.fit((features - means) / scales, scores, sample_weight=weights)
    return Linear(means, scales, ridge.coef_, ridge.intercept_)


def check_systems(names: Sequence[str], reranking: Reranking | None) -> None:
    """An error if a router cannot choose among these systems.

    Raises:
        InputError: there are fewer than two, one stands there twice or cannot be understood, or names with @N and a
            reranker do not go together.
    """
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise InputError(f"a router chooses among several systems; got {', '.join(names) or 'none'}")
    deep = [name for name in names if parse_system(name).depth is not None]
    if deep and reranking is None:
        raise InputError(f"{deep[0]!r} reranks, by a model", hint="name it: --rerank MODEL")
    if reranking and len(deep) < len(names):
        raise InputError("with a reranker, each system says how many hits it reranks", hint="as hybrid@0,hybrid@50")


def make_system_router(
    folders: Sequence[Path],
    indexes: Sequence[Index],
    names: Sequence[str],
    out: Path,
    *,
    split: str = "train",
    reranking: Reranking | None = None,
    tolerance: float = 0.0,
    restart: bool = False,
    model: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> SystemsManifest:
    """Search with every system, and learn which queries each serves; an interrupted run goes on where it was.

    Args:
        folders: in BEIR's layout.
        indexes: of each folder's documents; all are built alike.
        names: of the systems: modes of search, with a reranker all with @N, the hits that it reads.
        out: the router's folder.
        split: whose queries; those that another split has as well are left out.
        reranking: the model that reranks.
        tolerance: how much lower than the best's the expected score of a cheaper system may be.
        restart: begin anew.
        model: where the dense part's model is now, if it has moved.
        device: torch's device for models, and for the search of vectors; None takes a GPU where there is one.
        threads: cores; None takes all there are.
        progress: told of data sets.

    Raises:
        InputError: see `check_systems`; the tolerance is no finite number; the indexes are not built alike; or a
            finished router stands there.
        CollectionError: there are too few queries, or they cannot be read.
    """
    check_systems(names, reranking)
    check_margin(tolerance)
    if (out / ROUTER).exists() and not restart:
        raise InputError(f"{out}: a finished router stands there", hint="name a new folder, or --restart")
    found: list[Scores] = []
    stages: set[str] = set()
    for number, (folder, index) in enumerate(zip(folders, indexes, strict=True)):
        sides = query_sides(index, names, device, model=model)
        retrievers = retrievers_of(index, names, reranking, device=device, threads=threads, **sides)
        stages |= {stage for retriever in retrievers.values() for stage in retriever.stages}
        found.append(_scored(folder, split, retrievers, out, restart=restart))
        progress("data sets", number + 1, len(folders))
    parts = _parts(indexes, sorted(stages))
    fingerprints = list(dict.fromkeys(index.manifest.fingerprint for index in indexes))
    made = _manifest(names, found, parts, reranking, tolerance, fingerprints)
    write_router(out, made)
    return made


def query_sides(index: Index, names: Sequence[str], device: str | None, *, model: str | None = None) -> dict[str, Any]:
    """The encoders that some systems need, as `Retriever` takes them: loaded once for all, and before time is taken.

    `model` says where the dense part's is now, if it has moved.
    """
    needed = {stage for name in names for stage in parse_using(parse_system(name).mode) or index.parts}
    sides: dict[str, Any] = {}
    if "dense" in needed and index.dense:
        sides["encoder"] = load_query_encoder(index, device, model=model)
    if "sparse" in needed and index.sparse:
        sides["sparse_encoder"] = load_sparse_query_encoder(index, device)
    return sides


def retrievers_of(
    index: Index, names: Sequence[str], reranking: Reranking | None, **given: Any
) -> dict[str, Retriever]:
    """What answers for each system; `given` is as `Retriever` takes it."""
    systems = {name: parse_system(name) for name in names}
    return {
        name: Retriever(index, using=one.mode, rerank=one.reranking(reranking), by_document=True, **given)
        for name, one in systems.items()
    }


def search_queries(
    collection: Collection, retriever: Retriever, *, keep_self: bool = False
) -> tuple[NDArray[np.float64], float]:
    """The measure of each query (n,), in their order, and the milliseconds that a query took.

    A document with the query's own id is left out, unless `keep_self` is set.
    """
    own = bool(check_fit(collection, retriever.index.documents.all_document_ids()).own) and not keep_self
    (result,) = evaluate(collection, [retriever], measures=[MEASURE], k=_DEPTH, without_own=own)
    values = [result.per_query[query.id][MEASURE] for query in collection.queries]
    return np.array(values), 1000 / result.cost["queries_per_second"]


def _scored(folder: Path, split: str, retrievers: Mapping[str, Retriever], out: Path, *, restart: bool) -> Scores:
    """What each system scores on a folder's training queries, and what is known of these beforehand."""
    data, _ = read_data([folder], DataSettings(split=split), 0)
    wanted = {example.id for example in data.examples}
    collection = load_collection(folder, split, on_error="skip")
    queries = [query for query in collection.queries if query.id in wanted]
    collection = replace(collection, queries=queries, qrels={query.id: collection.qrels[query.id] for query in queries})
    index = next(iter(retrievers.values())).index
    about = {
        "data": str(folder.resolve()),
        "split": split,
        "data_fingerprint": data.fingerprint(),
        "settings": {name: retriever.settings for name, retriever in retrievers.items()},
    }
    file = out / "scores" / f"{folder.resolve().name}.json"
    known = _known(file, about, restart=restart)
    if "features" not in known:
        known["features"] = features_of(index, [query.text for query in queries]).tolist()
    for name, retriever in retrievers.items():
        if name not in known["systems"]:
            values, milliseconds = search_queries(collection, retriever)
            known["systems"][name] = {"milliseconds": milliseconds, "values": values.tolist()}
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, orjson.dumps(known))
    return known


def _known(file: Path, about: Mapping[str, Any], *, restart: bool) -> Scores:
    """What an earlier run has found out about the same."""
    fresh: Scores = orjson.loads(orjson.dumps({"about": about, "systems": {}}))
    if restart or not file.is_file():
        return fresh
    known: Scores = orjson.loads(file.read_bytes())
    return known if known["about"] == fresh["about"] else fresh


def _manifest(
    names: Sequence[str],
    found: Sequence[Scores],
    parts: Mapping[str, Any],
    reranking: Reranking | None,
    tolerance: float,
    fingerprints: list[str],
) -> SystemsManifest:
    sizes = np.array([len(one["features"]) for one in found])
    if sizes.sum() < _LEAST:
        raise CollectionError(f"{sizes.sum()} training queries are too few for a router", hint=f"give {_LEAST} or more")
    scores = np.concatenate([np.array([one["systems"][name]["values"] for name in names]).T for one in found])
    features = np.concatenate([np.array(one["features"]) for one in found])
    # Each data set counts alike, however many queries it has.
    weights = np.repeat(sizes.sum() / (len(sizes) * sizes), sizes)
    linear = fit_linear(features, scores, weights)
    costs = np.array([[one["systems"][name]["milliseconds"] for name in names] for one in found]).mean(axis=0)
    rows = zip(names, costs.tolist(), linear.intercepts.tolist(), linear.coefficients.tolist(), strict=True)
    return SystemsManifest(
        systems=[System(name=name, milliseconds=ms, intercept=i, coefficients=c) for name, ms, i, c in rows],
        base=names[int(np.average(scores, axis=0, weights=weights).argmax())],
        features=list(FEATURES),
        means=linear.means.tolist(),
        scales=linear.scales.tolist(),
        tolerance=tolerance,
        parts=dict(parts),
        reranker=reranking.model.settings if reranking else None,
        queries={Path(one["about"]["data"]).name: len(one["features"]) for one in found},
        fingerprints=fingerprints,
    )


def _parts(indexes: Sequence[Index], stages: Sequence[str]) -> dict[str, Any]:
    """How the indexes are built, which is alike."""
    parts = [parts_of(index.manifest, stages) for index in indexes]
    for index, one in zip(indexes, parts, strict=True):
        if one != parts[0]:
            raise InputError(f"{index.path} is not built as {indexes[0].path} is, so no router can serve both")
    return parts[0]
