"""A router of either kind, from its folder."""

from pathlib import Path

from retrieval.routing.experts import ExpertRouter
from retrieval.routing.manifest import ExpertsManifest, read_router
from retrieval.routing.systems import SystemRouter

__all__ = ["Router", "open_router"]

Router = ExpertRouter | SystemRouter
"""What chooses who answers a query."""


def open_router(folder: str | Path, device: str | None = None, *, model: str | None = None) -> Router:
    """The router of a folder, of whichever kind it is; `model` says where a base is now, if it has moved.

    Raises:
        ArtifactMissingError, ArtifactDamagedError, ArtifactVersionError: there is none, or it cannot be read.
        ModelError, MissingExtraError: see `ExpertRouter.open`.
    """
    manifest = read_router(Path(folder))
    if isinstance(manifest, ExpertsManifest):
        return ExpertRouter.open(folder, device=device, model=model)
    return SystemRouter(Path(folder), manifest)
