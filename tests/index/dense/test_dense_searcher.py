from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.dense import gpu
from retrieval.index.dense.approximate import write_dense_index
from retrieval.index.dense.builder import VectorWriter
from retrieval.index.dense.exact import propose_on_cpu
from retrieval.index.dense.faiss_index import FaissIndex, build_index, new_index
from retrieval.index.dense.options import DenseOptions
from retrieval.index.dense.searcher import DenseSearcher
from retrieval.index.dense.vectors import VectorReader
from retrieval.index.storage.files import PlainFolder
from retrieval.types import ScoreKind


def searcher(folder: Path, largest_norm: float, rows: int, kind: ScoreKind = ScoreKind.DOT) -> DenseSearcher:
    """Of one segment."""
    dimensions = int(np.load(folder / "vectors.npy").shape[1])
    return DenseSearcher([VectorReader(PlainFolder(folder), rows, dimensions)], [0], dimensions, kind, largest_norm)


def make(folder: Path, vectors: NDArray[np.float32]) -> DenseSearcher:
    """A searcher over vectors whose ordinals are their places."""
    with VectorWriter(folder, vectors.shape[1]) as writer:
        writer.add(np.arange(len(vectors)), vectors)
    return searcher(folder, writer.largest_norm, len(vectors))


def random_vectors(n: int, d: int, seed: int) -> NDArray[np.float32]:
    """Directions on the unit sphere."""
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_hits_are_the_best_by_exact_arithmetic(tmp_path: Path) -> None:
    """Against float64: the same documents in the same order, scores to 1e-6."""
    vectors, queries = random_vectors(3000, 96, 1), random_vectors(40, 96, 2)
    hits = make(tmp_path, vectors).search(queries, 50)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    best = np.argsort(-exact, axis=1)[:, :50]
    np.testing.assert_allclose(hits.scores, np.take_along_axis(exact, best, axis=1), atol=1e-6)
    assert (hits.ordinals == best).mean() > 0.999


@given(seed=st.integers(0, 1000), k=st.integers(1, 60), copies=st.integers(1, 40))
def test_near_ties_are_ordered_the_same_in_every_batch(
    seed: int, k: int, copies: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Vectors that differ in their last bits, many of them: alone, in a large batch and threaded."""
    base = random_vectors(10, 48, seed)
    noise = np.random.default_rng(seed).uniform(-1, 1, (10 * copies, 48)).astype(np.float32) * 1e-7
    made = make(tmp_path_factory.mktemp("dense"), np.repeat(base, copies, axis=0) + noise)
    queries = random_vectors(33, 48, seed + 1)
    together = made.search(queries, k, threads=2)
    for i in (0, 7, 32):
        alone = made.search(queries[i : i + 1], k)
        np.testing.assert_array_equal(alone.ordinals[0], together.ordinals[i])
        np.testing.assert_array_equal(alone.scores[0], together.scores[i])
    ordered = np.lexsort((together.ordinals[0], -together.scores[0]))
    assert ordered.tolist() == list(range(together.scores.shape[1]))


@given(seed=st.integers(0, 1000), k=st.integers(1, 60), cuts=st.lists(st.integers(0, 80), max_size=4))
def test_several_segments_are_searched_as_one(
    seed: int, k: int, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With equal vectors in different segments, deleted documents, and segments without any vector."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(random_vectors(40, 16, seed), 2, axis=0)[rng.permutation(80)]
    live = rng.random(80) < 0.7
    queries = random_vectors(5, 16, seed + 1)
    expected = make(tmp_path_factory.mktemp("one"), vectors).search(queries, k, allowed=live)
    firsts = [0, *sorted(cuts)]
    readers = []
    for first, last in zip(firsts, [*firsts[1:], 80], strict=True):
        folder = tmp_path_factory.mktemp("part")
        with VectorWriter(folder, 16) as writer:
            writer.add(np.arange(last - first), vectors[first:last])
        readers.append(VectorReader(PlainFolder(folder), last - first, 16))
    hits = DenseSearcher(readers, firsts, 16, ScoreKind.DOT, 1.1, live).search(queries, k)
    np.testing.assert_array_equal(hits.ordinals, expected.ordinals)
    np.testing.assert_array_equal(hits.scores, expected.scores)
    np.testing.assert_array_equal(hits.counts, expected.counts)


def test_documents_without_a_vector_keep_their_ordinals(tmp_path: Path) -> None:
    """Ordinals 2, 5 and 9 have vectors; they are what is found."""
    with VectorWriter(tmp_path, 3) as writer:
        writer.add(np.array([2, 5]), np.eye(3, dtype=np.float32)[:2])
        writer.add(np.array([9]), np.eye(3, dtype=np.float32)[2:])
    hits = searcher(tmp_path, writer.largest_norm, 10, ScoreKind.COSINE).search(
        np.array([[0.1, 0.2, 0.3]], dtype=np.float32), 10
    )
    assert hits.ordinals[0].tolist() == [9, 5, 2]


def test_vectors_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    """A vector that is not finite, or of another width, when building and when asking."""
    with VectorWriter(tmp_path, 2) as writer:
        with pytest.raises(InputError, match="the vector of document 7 is not finite, or longer than 1e"):
            writer.add(np.array([7]), np.array([[1e39, 1]]))
        with pytest.raises(InputError, match="the vector of document 8 is not finite"):
            writer.add(np.array([7, 8]), np.array([[0, 1], [np.nan, 1]], dtype=np.float32))
        with pytest.raises(InputError, match=r"vectors must be \(1, 2\); got \(1, 3\)"):
            writer.add(np.array([7]), np.ones((1, 3), dtype=np.float32))
        writer.add(np.array([7]), np.ones((1, 2), dtype=np.float32))
    found = searcher(tmp_path, writer.largest_norm, 8)
    with pytest.raises(InputError, match=r"query vectors must be \(n, 2\)"):
        found.search(np.ones((1, 3), dtype=np.float32), 1)
    with pytest.raises(InputError, match="must be finite"):
        found.search(np.full((1, 2), np.inf, dtype=np.float32), 1)


@pytest.mark.parametrize("k", [1, 30, 700])
def test_torch_proposes_what_faiss_does(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks, also with fewer vectors in a block than are wanted; on the CPU here, where there is no GPU."""
    pytest.importorskip("torch")
    monkeypatch.setattr(gpu, "_ROWS_AT_ONCE", 256)
    vectors, queries = random_vectors(1000, 48, 1), random_vectors(7, 48, 2)
    scores, rows = gpu.propose_in_torch(vectors, "cpu")(queries, k)
    expected, best = propose_on_cpu(vectors, 1)(queries, k)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert (rows == best).mean() > 0.99


def test_a_device_that_is_not_there_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the CPU searches."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available() or gpu.faiss_gpus():
        pytest.skip("there is a GPU")
    gpu._warn_once.cache_clear()
    made = make(tmp_path, random_vectors(50, 8, 1))
    with caplog.at_level("WARNING", logger="retrieval"):
        for _ in range(2):
            assert made.search(random_vectors(2, 8, 2), 3, device="cuda:7").counts.tolist() == [3, 3]
    assert caplog.text.count("no GPU for device cuda:7") == 1


@pytest.mark.gpu
@pytest.mark.parametrize("by", ["faiss", "torch"])
def test_the_gpu_gives_what_the_cpu_gives(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ordinals and scores agree to the bit, as both are scored again the same way."""
    torch = pytest.importorskip("torch")
    if by == "faiss" and not gpu.faiss_gpus():
        pytest.skip("faiss sees no GPU")
    if by == "torch":
        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")
        monkeypatch.setattr(gpu, "faiss_gpus", list)
    vectors, queries = random_vectors(20_000, 128, 1), random_vectors(64, 128, 2)
    made = make(tmp_path, vectors)
    on_gpu, on_cpu = (made.search(queries, 100, device=device) for device in ("cuda", "cpu"))
    np.testing.assert_array_equal(on_gpu.ordinals, on_cpu.ordinals)
    np.testing.assert_array_equal(on_gpu.scores, on_cpu.scores)


@pytest.mark.gpu
def test_inverted_lists_on_the_gpu_find_what_those_on_the_cpu_do(tmp_path: Path) -> None:
    """Nearly the same rows, with the same width; a copy on a GPU and back is as it was."""
    faiss = pytest.importorskip("faiss")
    if not gpu.faiss_gpus():
        pytest.skip("faiss sees no GPU")
    vectors, queries = random_vectors(20_000, 64, 1), random_vectors(64, 64, 2)
    index = build_index("IVF64,Flat", vectors, lambda done: None)
    on_gpu = gpu.clone_to_gpus(index, gpu.faiss_gpus()[:1])
    found, moved = FaissIndex(index), gpu.on_gpus(FaissIndex(index), "cuda")
    rows, others = (one.candidates(queries, 10, 8, 1) for one in (found, moved))
    assert np.mean([len(set(one) & set(other)) / 10 for one, other in zip(rows, others, strict=True)]) > 0.99
    back = faiss.index_gpu_to_cpu(on_gpu)
    np.testing.assert_array_equal(FaissIndex(back).candidates(queries, 10, 8, 1), rows)


@pytest.mark.gpu
def test_vectors_of_16_bits_on_the_gpu_find_what_those_on_the_cpu_do() -> None:
    """Nearly the same rows."""
    pytest.importorskip("faiss")
    if not gpu.faiss_gpus():
        pytest.skip("faiss sees no GPU")
    vectors, queries = random_vectors(20_000, 64, 1), random_vectors(64, 64, 2)
    found = FaissIndex(build_index("SQfp16", vectors, lambda done: None))
    rows, others = (one.candidates(queries, 10, 0, 1) for one in (found, gpu.on_gpus(found, "cuda")))
    assert np.mean([len(set(one) & set(other)) / 10 for one, other in zip(rows, others, strict=True)]) > 0.98


@pytest.mark.gpu
def test_a_graph_of_cagra_is_searched_on_both(tmp_path: Path) -> None:
    """Built on a GPU, written, opened on the CPU, moved back: each finds most of the best."""
    pytest.importorskip("faiss")
    vectors, queries = random_vectors(20_000, 64, 1), random_vectors(64, 64, 2)
    built = gpu.build_cagra(vectors)
    if built is None:
        pytest.skip("faiss has no CAGRA here")
    _, best = propose_on_cpu(vectors, 1)(queries, 10)
    for one in (FaissIndex(built), gpu.on_gpus(FaissIndex(built), "cuda")):
        rows = one.candidates(queries, 10, 128, 1)
        assert np.mean([len(set(some) & set(other)) / 10 for some, other in zip(rows, best, strict=True)]) > 0.9


def test_without_a_gpu_cagra_is_a_graph_of_the_cpu(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And it says so."""
    pytest.importorskip("faiss")
    if gpu.faiss_gpus():
        pytest.skip("there is a GPU")
    with VectorWriter(tmp_path, 16) as writer:
        writer.add(np.arange(2_000), random_vectors(2_000, 16, 1))
        writer.sync()
    with caplog.at_level("WARNING", logger="retrieval"):
        entry = write_dense_index(tmp_path, DenseOptions(index="cagra", recall=0.9))
    assert entry is not None
    assert entry.factory.startswith("HNSW")
    assert "no GPU builds a graph of CAGRA" in caplog.text


def test_a_gpu_without_memory_leaves_the_work_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning that says why."""

    def full(*given: object) -> None:
        raise RuntimeError("Error in alloc: out of memory on device 0")

    gpu._warn_once.cache_clear()
    monkeypatch.setattr(gpu, "faiss_gpus", lambda: [0])
    monkeypatch.setattr(gpu, "clone_to_gpus", full)
    vectors = random_vectors(500, 16, 1)
    index = FaissIndex(build_index("IVF4,Flat", vectors, lambda done: None))
    with caplog.at_level("WARNING", logger="retrieval"):
        assert gpu.on_gpus(index, "cuda") is index
        assert gpu.propose_on_gpu(vectors, "cuda") is None
    assert caplog.text.count("out of memory on device 0") == 1


@pytest.mark.parametrize("factory", ["PCA8,IDMap,Flat", "IDMap,Flat", "IVF4,Flat,Refine(SQ8)"])
def test_an_index_with_ids_or_refinement_of_its_own_is_refused(factory: str) -> None:
    """Wherever in the string they stand."""
    pytest.importorskip("faiss")
    with pytest.raises(InputError, match="refinement or ids"):
        new_index(factory, 16)


def test_a_graph_that_does_not_tell_its_size_is_searched_all_the_same(tmp_path: Path) -> None:
    """FAISS' NSG."""
    pytest.importorskip("faiss")
    vectors = random_vectors(2_000, 16, 1)
    with VectorWriter(tmp_path, 16) as writer:
        writer.add(np.arange(2_000), vectors)
        writer.sync()
    entry = write_dense_index(tmp_path, DenseOptions(index="NSG16,Flat", recall=0.8))
    assert entry is not None
    assert entry.factory == "NSG16,Flat"


@pytest.mark.parametrize(("query", "k", "said"), [(np.inf, 1, "finite"), (3e38, 1, "above"), (1.0, -1, "at least 0")])
def test_a_search_that_cannot_be_is_refused(tmp_path: Path, query: float, k: int, said: str) -> None:
    """And says what is wrong."""
    made = make(tmp_path, random_vectors(50, 8, 1))
    with pytest.raises(InputError, match=said):
        made.search(np.full((1, 8), query, dtype=np.float32), k)
