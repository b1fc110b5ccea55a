import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.building import LexicalOptions
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.indexing import Index
from retrieval.types import Document


def test_the_first_answer_equals_the_later_ones(tmp_path: Path) -> None:
    """A process' first question is answered without the compiled kernel, to the same bits."""
    rng = np.random.default_rng(5)
    words = [f"word{i}" for i in range(50)]
    documents = [Document(id=str(i), text=" ".join(rng.choice(words, size=20))) for i in range(500)]
    index = Index.build(documents, tmp_path / "index")
    assert index.lexical
    first = index.lexical.search(["word1 word2 word3 word3"], 30)
    later = index.lexical.search(["word1 word2 word3 word3"], 30)
    np.testing.assert_array_equal(first.ordinals, later.ordinals)
    np.testing.assert_array_equal(first.scores, later.scores)


def test_a_first_question_loads_no_compiler(tmp_path: Path) -> None:
    """Loading numba would take longer than the answer."""
    Index.build([Document(id="a", text="solar wind")], tmp_path / "index")
    code = (
        "import sys, retrieval\n"
        f"hits = retrieval.Retriever({str(tmp_path / 'index')!r}).search('wind')\n"
        "print([hit.id for hit in hits], 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['a'] False"


@given(
    queries=st.lists(st.text(st.sampled_from("wind WΣσİıß 1_.,é\u0301中𝒜\x00"), max_size=20), min_size=16, max_size=40),
    language=st.sampled_from(["english", "turkish", "german"]),
)
@settings(max_examples=40)
def test_a_query_finds_the_same_alone_and_among_others(
    queries: list[str], language: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Many are split by a kernel, one is not."""
    documents = [Document(id=str(i), text=text) for i, text in enumerate([*queries[::2], "wind wınd"])]
    options = LexicalOptions(analyzer=AnalyzerSettings.for_language(language))
    index = Index.build(documents, tmp_path_factory.mktemp("i") / "index", lexical=options)
    assert index.lexical
    together = index.lexical.search(queries, 5)
    for row, query in enumerate(queries):
        alone = index.lexical.search([query], 5)
        np.testing.assert_array_equal(together.row(row)[0], alone.row(0)[0])
        np.testing.assert_array_equal(together.row(row)[1], alone.row(0)[1])
