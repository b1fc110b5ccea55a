import subprocess
import sys
from pathlib import Path

import numpy as np

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
