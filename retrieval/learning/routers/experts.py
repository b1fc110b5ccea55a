"""A router over experts: each domain trains one, and each training query says who serves it best.

The folder of a router, of which an interrupted run goes on:

    router.json               what the router is; written last
    pilots-DIGEST.npy         the pilots of all experts
    experts/NAME/             how the expert was trained: model/, log.jsonl, checkpoints/, expert.json
    indexes/NAME/             the index of its domain's documents, where none was given
    domains/NAME/             its domain's training queries: base vectors, and what each expert scores on each
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from retrieval.encoders.experts import ExpertEncoder
from retrieval.errors import InputError
from retrieval.indexing import Index
from retrieval.learning.dense import needs_torch
from retrieval.learning.routers.expert_training import Domain, Making, Told, trained_expert
from retrieval.learning.routers.pilots import fill_scores, forget, index_of_domain, pilots_of_all, write_pilots
from retrieval.protocols import Progress, silent
from retrieval.routing.experts import adapters_of, check_base
from retrieval.routing.manifest import ROUTER, Expert, ExpertsManifest, PilotsFile, read_router, write_router
from retrieval.routing.rules import Aggregate, check_margin

__all__ = ["add_experts", "experts_at", "make_router", "remove_expert"]


def make_router(
    domains: Sequence[Domain],
    model: str,
    making: Making,
    out: Path,
    *,
    aggregate: Aggregate = "mean",
    margin: float = 0.0,
    restart: bool = False,
    progress: Progress = silent,
    on_expert: Told | None = None,
) -> ExpertsManifest:
    """Train an expert for each domain and build the pilots, or go on where an interrupted run was.

    Args:
        domains: at least one.
        model: the base, which encodes documents.
        making: how experts are trained.
        out: the router's folder.
        aggregate: how the similarities to an expert's pilots become one.
        margin: by how much the best expert must be above the next, or the base answers.
        restart: begin anew.
        progress: told of documents, steps and queries.
        on_expert: told of each expert's training when it is done.

    Raises:
        InputError: a finished router stands there, several processes were launched, or the margin is no finite number.
        ArtifactMissingError: an index that was given is not there.
        TrainingError: an expert was begun there with other settings; see also `retrieval.training.trainer.train`.
    """
    _check_process()
    check_margin(margin)
    if restart:
        _discard(out)
    if (out / ROUTER).exists():
        raise InputError(
            f"{out}: a finished router stands there", hint="name a new folder, --restart, or retrieval router add"
        )
    _check_indexes(out, [], domains)
    experts = [trained_expert(domain, model, making, out, progress=progress, on_expert=on_expert) for domain in domains]
    encoder = _encoder(out, experts, model, making.optimising.device)
    pilots = _library(out, experts, encoder, progress)
    made = ExpertsManifest(base=encoder.card, aggregate=aggregate, margin=margin, experts=experts, pilots=pilots)
    write_router(out, made)
    return made


def add_experts(
    out: Path,
    domains: Sequence[Domain],
    making: Making,
    *,
    model: str | None = None,
    progress: Progress = silent,
    on_expert: Told | None = None,
) -> ExpertsManifest:
    """Train more experts for a router that is there; no index changes, and no expert is trained again.

    Args:
        out: the router's folder.
        domains: of the new experts.
        making: how they are trained.
        model: where the base is now, where that is not the place or name it had.
        progress: told of documents, steps and queries.
        on_expert: told of each expert's training when it is done.

    Raises:
        InputError: an expert of that name is there.
        ModelError: the base cannot be had, or is another one now.
        ArtifactMissingError, ArtifactDamagedError: there is no router, or it cannot be read; or so it is with an index,
            of an expert that is there or of a new one.
        TrainingError: see `make_router`.
    """
    _check_process()
    before = experts_at(out)
    if known := [domain.name for domain in domains if domain.name in before.names]:
        raise InputError(f"{out} has an expert {known[0]!r} already", hint="remove it first: retrieval router remove")
    _check_indexes(out, before.experts, domains)
    model = model or before.base.model
    check_base(out, before, _encoder(out, before.experts, model, making.optimising.device).card)
    added = [trained_expert(domain, model, making, out, progress=progress, on_expert=on_expert) for domain in domains]
    experts = [*before.experts, *added]
    encoder = _encoder(out, experts, model, making.optimising.device)
    return _committed(out, before, experts, _library(out, experts, encoder, progress))


def remove_expert(out: Path, name: str) -> ExpertsManifest:
    """Take an expert, and its domain's pilots, out of a router, as if it had never been there.

    Raises:
        InputError: there is no such expert, or it is the only one.
        ArtifactMissingError, ArtifactDamagedError: there is no router, or it cannot be read.
    """
    before = experts_at(out)
    if name not in before.names:
        raise InputError(f"{out} has no expert {name!r}", hint=f"it has {', '.join(before.names)}")
    experts = [expert for expert in before.experts if expert.name != name]
    if not experts:
        raise InputError(f"{name!r} is the only expert of {out}", hint="delete the folder, or add another one first")
    made = _committed(out, before, experts, write_pilots(out, pilots_of_all(out, experts)))
    for part in ("experts", "indexes"):
        shutil.rmtree(out / part / name, ignore_errors=True)
    forget(out, name, made.names)
    return made


def experts_at(out: Path) -> ExpertsManifest:
    """The manifest of a router over experts; an InputError for one of the other kind."""
    manifest = read_router(out)
    if not isinstance(manifest, ExpertsManifest):
        raise InputError(f"{out} is a router over systems, and has no experts")
    return manifest


def _check_process() -> None:
    """Before anything is read: torch is there, and nobody else is about to write the same folder."""
    needs_torch()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("a router is made by one process, not by several", hint="leave accelerate launch out")


def _check_indexes(out: Path, experts: Sequence[Expert], domains: Sequence[Domain]) -> None:
    """Before anything is trained: the indexes on which experts will be compared can be opened."""
    for expert in experts:
        index_of_domain(out, expert)
    for domain in domains:
        if domain.index:
            Index.open(domain.index)


def _discard(out: Path) -> None:
    """Let go of all that a router's folder holds, its manifest first."""
    (out / ROUTER).unlink(missing_ok=True)
    for part in ("experts", "domains", "indexes"):
        shutil.rmtree(out / part, ignore_errors=True)
    for file in out.glob("pilots-*.npy"):
        file.unlink()


def _encoder(out: Path, experts: Sequence[Expert], model: str, device: str | None) -> ExpertEncoder:
    return ExpertEncoder(model, {expert.name: adapters_of(out, expert.name) for expert in experts}, device=device)


def _library(out: Path, experts: Sequence[Expert], encoder: ExpertEncoder, progress: Progress) -> PilotsFile:
    fill_scores(out, experts, encoder, progress=progress)
    return write_pilots(out, pilots_of_all(out, experts))


def _committed(out: Path, before: ExpertsManifest, experts: list[Expert], pilots: PilotsFile) -> ExpertsManifest:
    """The router with these experts, and without the pilots of the one before."""
    made = before.model_copy(update={"experts": experts, "pilots": pilots})
    write_router(out, made)
    for file in out.glob("pilots-*.npy"):
        if file.name != pilots.file:
            file.unlink()
    return made
