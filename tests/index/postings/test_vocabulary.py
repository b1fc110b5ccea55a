from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import ArtifactDamagedError
from retrieval.index.postings.vocabulary import Vocabulary, write_vocabulary
from retrieval.index.storage.files import PlainFolder

words = st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=30)


@given(known=words, others=words)
def test_terms_are_found_by_their_place(
    known: set[str], others: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In any script; what is not there has no number."""
    folder = tmp_path_factory.mktemp("vocabulary")
    terms = sorted(word.encode() for word in known)
    write_vocabulary(folder, pa.array(terms, pa.large_binary()))
    vocabulary = Vocabulary(PlainFolder(folder))
    assert list(vocabulary) == vocabulary.as_arrow().to_pylist() == terms
    assert vocabulary.problems() == []
    assert [vocabulary.number(term.decode()) for term in terms] == list(range(len(terms)))
    assert all(vocabulary.number(word) == -1 for word in others - known)


def test_parts_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    """The message names the file."""
    write_vocabulary(tmp_path, pa.array([b"sky", b"wind"], pa.large_binary()))
    np.save(tmp_path / "term_offsets.npy", np.array([0, 3, 99]))
    with pytest.raises(ArtifactDamagedError, match=r"term_offsets.npy: does not fit term_bytes.npy"):
        Vocabulary(PlainFolder(tmp_path))
