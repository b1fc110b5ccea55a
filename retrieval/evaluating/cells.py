"""The parts that a suite falls into: indexes, and cells of one system on one test collection.

Each is done by a process of its own, so that the peak of its memory is known, and so that one that is killed takes
no other with it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from retrieval.beir_eval.datasets import Collection, check_fit
from retrieval.beir_eval.evaluation import SystemResult, write_results
from retrieval.beir_eval.exchange import read_checked, score_run
from retrieval.beir_eval.measures import parse_measures
from retrieval.beir_eval.runs import Ties
from retrieval.beir_eval.suites import DatasetEntry, SystemEntry
from retrieval.corpus import read_documents
from retrieval.describing import machine
from retrieval.encoders.dense import load_encoder
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import ArtifactMissingError, InputError
from retrieval.evaluating.costs import BuildTime
from retrieval.evaluating.inputs import Stamp, stamp_of
from retrieval.evaluating.places import Place
from retrieval.evaluating.running import evaluate, index_for
from retrieval.files import write_whole
from retrieval.fusion import FUSIONS, check_weights
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.index_models import load_query_encoder, load_sparse_query_encoder
from retrieval.indexing import Index, LexicalOptions, LuceneOptions
from retrieval.pipeline import ROUTED, Retriever, fuses, parse_using, routed_stages
from retrieval.protocols import Progress, SparseEncoder
from retrieval.rerank.loading import load_reranker
from retrieval.reranking import Reranking
from retrieval.routing.experts import ExpertRouter
from retrieval.routing.manifest import ROUTER, RouterManifest, SystemsManifest, read_router
from retrieval.routing.opening import open_router
from retrieval.vectors import StoredQueries, VectorFile

__all__ = ["Cell", "IndexJob", "Recipe", "recipe_of"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What an index is made of: for each part its settings, by name, or None where nobody needs it."""

    lexical: tuple[tuple[str, Any], ...] | None = None
    sparse: tuple[tuple[str, Any], ...] | None = None
    dense: tuple[tuple[str, Any], ...] | None = None

    def with_other(self, other: "Recipe") -> "Recipe | None":
        """One that serves both; None if they want different things of the same part."""
        mine, theirs = vars(self), vars(other)
        if any(mine[part] and theirs[part] and mine[part] != theirs[part] for part in mine):
            return None
        return Recipe(**{part: mine[part] or theirs[part] for part in mine})

    @property
    def parts(self) -> int:
        """How many parts it has."""
        return sum(settings is not None for settings in vars(self).values())

    @property
    def name(self) -> str:
        """Of the index' folder: its parts, and a digest of their settings."""
        parts = "-".join(part for part, settings in vars(self).items() if settings)
        return f"{parts}-{sha256(orjson.dumps(asdict(self))).hexdigest()[:10]}"


# Of a system: what names a model, and what names a file.
_MODELS = ("dense", "query_encoder", "sparse", "rerank")
_FILES = ("sparse_vectors", "query_vectors", "run")

# Of an index' parts.
_LEXICAL = ("lexical_engine", "bm25", "language")
_SPARSE = ("sparse", "sparse_vectors", "precision", "runtime", "batch_tokens")
_DENSE = ("dense", "dimensions", "precision", "runtime", "batch_tokens")


def stages_of(system: SystemEntry, router: RouterManifest | None = None) -> tuple[str, ...]:
    """The stages that a system searches with; hybrid is all that it names a model or vectors for.

    Args:
        system: of a suite.
        router: of routed search.

    Raises:
        InputError: it names no such mode of search, or no model for it.
    """
    assert system.using
    given = {"lexical": True, "sparse": system.sparse or system.sparse_vectors, "dense": system.dense}
    try:
        named = routed_stages(router) if router else parse_using(system.using)
        stages = named or tuple(part for part, has in given.items() if has)
    except InputError as error:
        raise InputError(f"system {system.name!r}: {error}") from error
    if lacking := [stage for stage in stages if not given[stage]]:
        raise InputError(
            f"system {system.name!r}: {lacking[0]} search needs a model", hint=f'name one: {lacking[0]} = "..."'
        )
    return stages


def recipe_of(system: SystemEntry, dataset: DatasetEntry, place: Place) -> Recipe | None:
    """What a system's index is made of; None where its answers are given.

    Raises:
        InputError: see `stages_of`; or its model, its router or a file that it names is not there, or it says how to
            fuse and fuses nothing, or weights a list that it has not.
    """
    _look_for_files(system, dataset, place)
    if system.run:
        return None
    router = _router_of(system, dataset, place)
    stages = stages_of(system, router)
    fusing = fuses(ROUTED, router) if router else len(stages) > 1
    if not fusing and (idle := system.model_fields_set & {"fusion", "weights", "depth"}):
        raise InputError(f"system {system.name!r}: {min(idle)} is for a system that searches several lists")
    try:
        check_weights(system.weights, stages)
    except InputError as error:
        raise InputError(f"system {system.name!r}: {error}") from error
    if isinstance(router, SystemsManifest):
        stages = ("lexical", *(stage for stage in stages if stage != "lexical"))  # by which it chooses
    fields = {"lexical": _LEXICAL, "sparse": _SPARSE, "dense": _DENSE}
    return Recipe(**{part: tuple((name, getattr(system, name)) for name in fields[part]) for part in stages})


def _look_for_files(system: SystemEntry, dataset: DatasetEntry, place: Place) -> None:
    """Before anything runs: what is lacking would be told after hours of other cells."""
    for name in ("run", "sparse_vectors", "query_vectors"):
        named = getattr(system, name)
        if named and not (path := place.file(named, dataset)).is_file():
            raise InputError(
                f"system {system.name!r} on {dataset.name}: no {name} at {path}",
                hint="paths are relative to --data, or else to the suite",
            )


def _router_of(system: SystemEntry, dataset: DatasetEntry, place: Place) -> RouterManifest | None:
    """What a system's router is; all models that it names have been looked for."""
    try:
        for name in _MODELS:
            if model := getattr(system, name):
                place.model(model, dataset)
        return read_router(place.file(system.router, dataset)) if system.router else None
    except (InputError, ArtifactMissingError) as error:
        raise InputError(f"system {system.name!r} on {dataset.name}: {error}", hint=error.hint) from error


@dataclass(frozen=True, kw_only=True)
class IndexJob:
    """An index to be built, for all systems of a data set that it serves."""

    dataset: DatasetEntry
    recipe: Recipe
    place: Place

    @property
    def folder(self) -> Path:
        """Where it goes, with the time that it took beside it."""
        return self.place.out / "indexes" / self.dataset.name / self.recipe.name

    def run(self, progress: Progress) -> None:
        """Build it, or leave one that is there and fits."""
        data, place = self.place.documents(self.dataset), self.place
        check_fit(place.collection(self.dataset), (document.id for document in read_documents(data)))
        self.folder.mkdir(parents=True, exist_ok=True)
        _, is_new, built = index_for(
            data,
            self.folder / "index",
            _lexical(dict(self.recipe.lexical or ())),
            self._encoder(),
            self._sparse_source(),
            overwrite=place.overwrite,
            restart=place.restart,
            progress=progress,
        )
        if is_new:
            write_whole(self.folder / "built.json", orjson.dumps(asdict(built) if built else None))

    def _encoder(self) -> Any:
        if self.recipe.dense is None:
            return None
        settings = dict(self.recipe.dense)
        model = self.place.model(settings.pop("dense"), self.dataset)
        return load_encoder(model, device=self.place.device, **settings)

    def _sparse_source(self) -> SparseEncoder | VectorFile | None:
        settings = dict(self.recipe.sparse or ())
        vectors, model = settings.pop("sparse_vectors", None), settings.pop("sparse", None)
        if vectors:
            return VectorFile(self.place.file(vectors, self.dataset))
        if not model:
            return None
        return load_sparse_encoder(self.place.model(model, self.dataset), device=self.place.device, **settings)

    def built(self) -> BuildTime | None:
        """How long it took, if that was seen."""
        path = self.folder / "built.json"
        content = orjson.loads(path.read_bytes()) if path.is_file() else None
        return BuildTime(**content) if content else None


def _lexical(settings: Mapping[str, Any]) -> LexicalOptions | LuceneOptions:
    engine = settings.get("lexical_engine", "native")
    bm25 = BM25.preset(settings.get("bm25") or ("anserini" if engine == "lucene" else "bm25s"))
    if engine == "lucene":
        return LuceneOptions(k1=bm25.k1, b=bm25.b)
    return LexicalOptions(analyzer=AnalyzerSettings.for_language(settings.get("language", "english")), bm25=bm25)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One system on one data set, in a folder of its own.

    Attributes:
        measures, k, ties: of the suite.
        index: None where the answers are given.
    """

    dataset: DatasetEntry
    system: SystemEntry
    place: Place
    measures: tuple[str, ...]
    k: int
    ties: Ties | None
    index: IndexJob | None

    @property
    def name(self) -> str:
        """As it is told of."""
        return f"{self.dataset.name}, {self.system.name}"

    @property
    def folder(self) -> Path:
        """Where its results.json goes."""
        return self.place.out / "cells" / self.dataset.name / self.system.name

    @property
    def asked(self) -> dict[str, Any]:
        """All that decides its figures, beside what it is measured on."""
        return {
            "dataset": self.dataset.model_dump(mode="json", exclude_defaults=True),
            "system": self.system.model_dump(mode="json", exclude_defaults=True, exclude={"datasets"}),
            "measures": list(self.measures),
            "k": self.k,
            "ties": self.ties,
        }

    @property
    def inputs(self) -> dict[str, Stamp | None]:
        """What stands for the collection and for what the system names; a model of a hub is known by its name alone."""
        system, place = self.system, self.place
        paths = {name: place.file(value, self.dataset) for name in _FILES if (value := getattr(system, name))}
        for name in _MODELS:
            if (value := getattr(system, name)) and (path := place.file(value, self.dataset)).is_dir():
                paths[name] = path
        if system.router:
            paths["router"] = place.file(system.router, self.dataset) / ROUTER  # it holds digests of its other files
        return {**place.stamps(self.dataset), **{name: stamp_of(path) for name, path in paths.items()}}

    def run(self, progress: Progress) -> None:
        """Search, measure and write."""
        collection = self.place.collection(self.dataset)
        result = self._searched(collection) if self.index else self._given(collection)
        environment = {
            **machine(),
            "suite": self.asked,
            "inputs": self.inputs,
        }
        write_results(self.folder, collection, [replace(result, name=self.system.name)], environment)

    def _searched(self, collection: Collection) -> SystemResult:
        assert self.index
        index = Index.open(self.index.folder / "index")
        fit = check_fit(collection, index.documents.all_document_ids())
        collection.problems.extend(fit.notes(keep_self=self.dataset.keep_self))
        (result,) = evaluate(
            collection,
            [self._retriever(index, collection)],
            measures=self.measures,
            k=self.k,
            without_own=bool(fit.own) and not self.dataset.keep_self,
            ties=self.ties,
            built=self.index.built(),
        )
        return result

    def _retriever(self, index: Index, collection: Collection) -> Retriever:
        system, place = self.system, self.place
        router = None
        if system.router:
            router = open_router(place.file(system.router, self.dataset), place.device, model=self._model(system.dense))
        stages = stages_of(system, router.manifest if router else None)
        is_dense = "dense" in stages and not isinstance(router, ExpertRouter)  # which encodes by itself
        model = self._model(system.query_encoder or system.dense)
        return Retriever(
            index,
            using=ROUTED if router else "+".join(stages),
            fusion=FUSIONS[system.fusion](weights=system.weights, depth=system.depth),
            encoder=load_query_encoder(index, place.device, model=model) if is_dense else None,
            sparse_encoder=self._sparse_side(index, collection) if "sparse" in stages else None,
            rerank=self._reranking(collection),
            router=router,
            by_document=True,
            device=place.device,
            threads=place.threads,
        )

    def _model(self, name: str | None) -> str | None:
        return self.place.model(name, self.dataset) if name else None

    def _sparse_side(self, index: Index, collection: Collection) -> SparseEncoder | StoredQueries:
        if self.system.query_vectors:
            return StoredQueries.read(self.place.file(self.system.query_vectors, self.dataset), collection.queries)
        return load_sparse_query_encoder(index, self.place.device, model=self._model(self.system.sparse))

    def _reranking(self, collection: Collection) -> Reranking | None:
        system, model = self.system, self._model(self.system.rerank)
        if not model:
            return None
        scorer = load_reranker(model, device=self.place.device, precision=system.rerank_precision)
        asked = [query.text for query in collection.queries]
        depth = system.rerank_depth if "rerank_depth" in system.model_fields_set else None
        return Reranking(model=scorer, depth=depth, weight=system.rerank_weight, queries=asked)

    def _given(self, collection: Collection) -> SystemResult:
        """A run that somebody else made, checked and measured as `eval score` does."""
        assert self.system.run
        place, dataset = self.place, self.dataset
        path = place.file(self.system.run, dataset)
        ids = [document.id for document in read_documents(place.documents(dataset))]
        on_error = "skip" if place.skip else "stop"
        (run,), problems = read_checked([path], place.query_ids(dataset), ids, on_error=on_error)
        fit = check_fit(collection, ids)
        collection.problems.extend([*fit.notes(keep_self=dataset.keep_self), *problems])
        without_own = bool(fit.own) and not dataset.keep_self
        measures, ties = parse_measures(self.measures), self.ties or "descending"
        return score_run(path, run, collection, measures, k=self.k, without_own=without_own, ties=ties)
