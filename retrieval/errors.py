"""Every error that this package raises on purpose.

RetrievalError
├── InputError               what came in is wrong: an option, a query, a parameter
│   ├── CorpusError          a document or query that cannot be read, with file and line
│   ├── FilterError          a metadata filter that cannot be understood, with the place in it
│   └── CollectionError      a test collection whose parts do not fit together
├── ArtifactError            an index on disk
│   ├── ArtifactExistsError  something stands where the index should go
│   ├── ArtifactMissingError there is no index here, or not this part of it
│   ├── ArtifactLockedError  another process is writing to it
│   ├── DocumentExistsError  a document to add is there already
│   ├── DocumentMissingError a document to delete is not there
│   ├── UnfinishedBuildError an interrupted build stands there, of other documents or with other settings
│   ├── ArtifactDamagedError a file is missing, cut or altered
│   └── ArtifactVersionError written by a newer version
├── ModelError               a model that cannot be found or used
├── TrainingError            a training run that cannot go on, or not in this way
└── MissingExtraError        a package that an optional part needs is not installed
"""

__all__ = [
    "ArtifactDamagedError",
    "ArtifactError",
    "ArtifactExistsError",
    "ArtifactLockedError",
    "ArtifactMissingError",
    "ArtifactVersionError",
    "CollectionError",
    "CorpusError",
    "DocumentExistsError",
    "DocumentMissingError",
    "FilterError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "RetrievalError",
    "TrainingError",
    "UnfinishedBuildError",
]


class RetrievalError(Exception):
    """What went wrong and where; `hint`, where there is one, says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from their message alone, and subclasses take more than that.
        return _rebuilt, (type(self), str(self), self.__dict__)


def _rebuilt(kind: type[RetrievalError], message: str, state: dict[str, object]) -> RetrievalError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error


class InputError(RetrievalError):
    """An option, query or parameter that cannot be used."""


class CorpusError(InputError):
    """A document or query that cannot be read."""

    def __init__(self, source: str, position: int | None, reason: str, *, hint: str | None = None) -> None:
        where = source if position is None else f"{source}:{position}"
        super().__init__(f"{where}: {reason}", hint=hint)
        self.source = source
        self.position = position
        self.reason = reason


class FilterError(InputError):
    """A metadata filter that cannot be understood."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


class CollectionError(InputError):
    """A test collection whose queries, judgements and documents do not fit together."""


class ArtifactError(RetrievalError):
    """An index on disk that cannot be written or read."""


class ArtifactExistsError(ArtifactError):
    """Something stands where the index should go."""


class ArtifactMissingError(ArtifactError):
    """There is no index here, or not the part of it that was asked for."""


class ArtifactLockedError(ArtifactError):
    """Another process is writing to the index."""


class DocumentExistsError(ArtifactError):
    """A document to add is in the index already."""


class DocumentMissingError(ArtifactError):
    """A document to delete is not in the index."""


class UnfinishedBuildError(ArtifactError):
    """Work on the index was interrupted, and this is not how to go on with it."""


class ArtifactDamagedError(ArtifactError):
    """A file of the index is missing, cut or altered."""


class ArtifactVersionError(ArtifactError):
    """The index was written by a version that this one does not know."""


class ModelError(RetrievalError):
    """A model that cannot be found or used."""


class TrainingError(RetrievalError):
    """A training run that cannot go on: it diverged or collapsed, or its checkpoints are of another run."""


class MissingExtraError(RetrievalError):
    """A package that an optional part needs is not installed, or does not work."""

    def __init__(self, package: str, extra: str, purpose: str, *, reason: str = "which is not installed") -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, {reason}",
            hint=f"pip install 'retrieval-engine[{extra}]'",
        )
