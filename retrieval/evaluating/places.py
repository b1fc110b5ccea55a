"""Where everything of a suite is: its collections, its files and models, and what it leaves."""

from dataclasses import dataclass, replace
from pathlib import Path

from retrieval.beir_eval.catalogue import CatalogueDocuments, catalogued_query_ids, load_catalogued
from retrieval.beir_eval.datasets import Collection, collection_files, load_collection, query_ids
from retrieval.beir_eval.suites import MODELS, DatasetEntry
from retrieval.errors import InputError
from retrieval.evaluating.inputs import Stamp, stamp_of
from retrieval.indexing import Corpus

__all__ = ["Place"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a suite's data are and its results go, and how it uses the machine.

    Attributes:
        out: its folder.
        data: what folders and files that it names are relative to.
        models: what `{models}` stands for in it, absolute.
        device: torch's device for models; None takes the best there is.
        threads: cores for each process; None takes all there are.
        overwrite: replace indexes and results of other settings.
        restart: discard what interrupted builds left.
        skip: leave out judgements that do not fit, and do not stop.
    """

    out: Path
    data: Path
    models: Path | None = None
    device: str | None = None
    threads: int | None = None
    overwrite: bool = False
    restart: bool = False
    skip: bool = False

    def collection(self, dataset: DatasetEntry) -> Collection:
        """The queries and judgements of a data set, under the suite's name for it."""
        on_error = "skip" if self.skip else "stop"
        if dataset.id:
            return load_catalogued(dataset.id, dataset.name, on_error=on_error)
        assert dataset.folder
        found = load_collection(self.data / dataset.folder, dataset.split, on_error=on_error)
        return replace(found, name=dataset.name)

    def query_ids(self, dataset: DatasetEntry) -> set[str]:
        """The ids of all its queries, judged or not."""
        if dataset.id:
            return catalogued_query_ids(dataset.id)
        assert dataset.folder
        return query_ids(self.data / dataset.folder)

    def stamps(self, dataset: DatasetEntry) -> dict[str, Stamp | None]:
        """What stands for its files; nothing for one of ir_datasets, which checks its own."""
        if dataset.id:
            return {}
        assert dataset.folder
        files = collection_files(self.data / dataset.folder, dataset.split)
        return {name: stamp_of(path) for name, path in files.items()}

    def documents(self, dataset: DatasetEntry) -> Corpus:
        """Its documents, which can be read again and again."""
        if dataset.id:
            return CatalogueDocuments(dataset.id)
        assert dataset.folder
        return self.data / dataset.folder

    def file(self, path: str, dataset: DatasetEntry) -> Path:
        """A file that belongs to a data set."""
        return self.data / self._filled(path, dataset)

    def model(self, name: str, dataset: DatasetEntry) -> str:
        """A model's name, or its folder, which may be among the data.

        Raises:
            InputError: it is among the models of `{models}`, and is not there.
        """
        path = self.file(name, dataset)
        if MODELS in name and not path.is_dir():
            raise InputError(f"no model at {path}", hint="make it, or name another folder: --models DIR")
        return str(path) if path.is_dir() else self._filled(name, dataset)

    def _filled(self, text: str, dataset: DatasetEntry) -> str:
        return text.replace(MODELS, str(self.models)).replace("{dataset}", dataset.name)
