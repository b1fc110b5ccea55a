"""Pilots: what each expert scores on each domain's training queries, kept on disk, and the means that follow from it.

A domain's folder holds `queries.json` (ids), `vectors.npy` (the base's, (n, d) float32) and `table.json`: the index'
fingerprint, and of the base and each expert a digest of its weights and its nDCG@10 on each query, in their order.
"""

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.beir_eval.datasets import Collection, check_fit, load_collection
from retrieval.encoders.experts import ExpertEncoder, Single
from retrieval.errors import ArtifactMissingError, CollectionError
from retrieval.evaluating.running import evaluate
from retrieval.files import write_whole
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.protocols import Progress, silent
from retrieval.routing.experts import BASE_NAME
from retrieval.routing.manifest import ROUTER, Expert, PilotsFile, damaged
from retrieval.routing.rules import Pilots, joined, pilots_of, winners

__all__ = [
    "MEASURE",
    "domain_folder",
    "fill_scores",
    "forget",
    "index_of_domain",
    "note_queries",
    "pilots_of_all",
    "write_pilots",
]

MEASURE = "nDCG@10"
"""What tells which expert, or which system, serves a query best."""

_QUERIES, _VECTORS, _TABLE = "queries.json", "vectors.npy", "table.json"
_DEPTH = 10

Table = dict[str, Any]


def domain_folder(out: Path, name: str) -> Path:
    """Where a router keeps what it knows of a domain's queries."""
    return out / "domains" / name


def note_queries(out: Path, name: str, ids: Sequence[str]) -> None:
    """Say which queries of a domain its expert was trained on."""
    folder = domain_folder(out, name)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _QUERIES, orjson.dumps(list(ids)))


def index_of_domain(out: Path, domain: Expert) -> Index:
    """The index of a domain's documents, on which all experts are compared.

    Raises:
        ArtifactMissingError: it is not where the router says.
        ArtifactDamagedError, ArtifactVersionError: it cannot be read.
    """
    try:
        return Index.open(out / domain.index)
    except ArtifactMissingError as error:
        raise ArtifactMissingError(
            f"the expert {domain.name!r} of {out}: {error}, on which all experts are compared",
            hint=f"{out / ROUTER} names that place: put the index back there, or remove the expert first: "
            f"retrieval router remove {out} {domain.name}",
        ) from error


def fill_scores(out: Path, experts: Sequence[Expert], encoder: ExpertEncoder, *, progress: Progress = silent) -> None:
    """Search each domain's index with the base and with every expert, where no earlier call has.

    Args:
        out: the router's folder.
        experts: all of them; each stands for its domain, too.
        encoder: the base and these experts.
        progress: told of passes over a domain's queries.

    Raises:
        ArtifactMissingError, CollectionError: an index, or a domain's data, is not where it was.
    """
    digests = {BASE_NAME: str(encoder.card.weights), **{expert.name: expert.sha256 for expert in experts}}
    for number, domain in enumerate(experts):
        _fill(out, domain, encoder, digests)
        progress("pilots", number + 1, len(experts))


def _fill(out: Path, domain: Expert, encoder: ExpertEncoder, digests: Mapping[str, str]) -> None:
    folder, index = domain_folder(out, domain.name), index_of_domain(out, domain)
    table = _table(folder, index.manifest.fingerprint)
    known = table["scores"]
    missing = [name for name, digest in digests.items() if known.get(name, {}).get("sha256") != digest]
    if not missing:
        return
    collection = _trained_on(folder, domain)
    if BASE_NAME in missing:
        _save(folder / _VECTORS, encoder.encode_queries([query.text for query in collection.queries]))
    for name in missing:
        single = Single(encoder, None if name == BASE_NAME else name)
        known[name] = {"sha256": digests[name], "values": _scores(collection, index, single)}
        write_whole(folder / _TABLE, orjson.dumps(table))


def _table(folder: Path, fingerprint: str) -> Table:
    """What is known of a domain, of an index of just these documents."""
    file = folder / _TABLE
    table: Table = orjson.loads(file.read_bytes()) if file.is_file() else {}
    return table if table.get("index") == fingerprint else {"index": fingerprint, "scores": {}}


def _trained_on(folder: Path, domain: Expert) -> Collection:
    collection = load_collection(domain.data, domain.split, on_error="skip")
    wanted = dict.fromkeys(orjson.loads((folder / _QUERIES).read_bytes()))
    there = {query.id: query for query in collection.queries}
    if lacking := [id_ for id_ in wanted if id_ not in there]:
        raise CollectionError(
            f"{domain.data}: lacks {len(lacking)} queries that the expert {domain.name!r} was trained on",
            hint="put the folder back as it was, or train the router again",
        )
    return replace(collection, queries=[there[id_] for id_ in wanted])


def _scores(collection: Collection, index: Index, encoder: Single) -> list[float]:
    retriever = Retriever(index, using="dense", encoder=encoder, by_document=True)
    judged = replace(collection, qrels={query.id: collection.qrels[query.id] for query in collection.queries})
    own = bool(check_fit(judged, index.documents.all_document_ids()).own)
    (result,) = evaluate(judged, [retriever], measures=[MEASURE], k=_DEPTH, without_own=own)
    return [result.per_query[query.id][MEASURE] for query in judged.queries]


def pilots_of_all(out: Path, experts: Sequence[Expert]) -> Pilots:
    """The pilots that follow from what `fill_scores` found.

    Raises:
        ArtifactDamagedError: some of it is missing.
    """
    return joined([_pilots(domain_folder(out, one.name), experts, place) for place, one in enumerate(experts)])


def _pilots(folder: Path, experts: Sequence[Expert], place: int) -> Pilots:
    try:
        known = orjson.loads((folder / _TABLE).read_bytes())["scores"]
        columns = [known[expert.name]["values"] for expert in experts]
        vectors: NDArray[np.float32] = np.load(folder / _VECTORS, allow_pickle=False)
        return pilots_of(vectors, winners(np.array(columns).T, place), place)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise damaged(folder, f"what the experts score on its queries cannot be read ({error!r})") from error


def write_pilots(out: Path, pilots: Pilots) -> PilotsFile:
    """Write the vectors under a name of their own, which `router.json` is then to name."""
    content = _bytes(pilots.vectors)
    digest = sha256(content).hexdigest()
    name = f"pilots-{digest[:12]}.npy"
    write_whole(out / name, content)
    numbers = {field: getattr(pilots, field).tolist() for field in ("experts", "domains", "counts")}
    return PilotsFile(file=name, sha256=digest, **numbers)


def forget(out: Path, name: str, kept: Sequence[str]) -> None:
    """Let go of a domain, and of what its expert scored on those that are kept."""
    shutil.rmtree(domain_folder(out, name), ignore_errors=True)
    for other in kept:
        file = domain_folder(out, other) / _TABLE
        table: Table = orjson.loads(file.read_bytes())
        if table["scores"].pop(name, None):
            write_whole(file, orjson.dumps(table))


def _save(file: Path, array: NDArray[np.float32]) -> None:
    write_whole(file, _bytes(array))


def _bytes(array: NDArray[np.float32]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()
