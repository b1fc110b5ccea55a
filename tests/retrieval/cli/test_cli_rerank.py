"""`--rerank-precision int8`: a reranker that sees passages of the index before it reranks the first."""

from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("openvino")
pytest.importorskip("nncf")

from retrieval.encoders.runtimes import quantising
from tests.rerank.making import write_cross_encoder
from tests.retrieval.cli.conftest import Cli, write_jsonl

pytestmark = pytest.mark.filterwarnings("ignore")  # of packages below openvino


@pytest.fixture(autouse=True)
def unquantised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models stay as they are, which is quick."""
    monkeypatch.setattr(quantising, "quantise", lambda model, *given: model)


def test_a_search_calibrates_once(
    cli: Cli, lexical_index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By titles; it is told how near the scores are, and stdout holds nothing but hits."""
    model = write_cross_encoder(tmp_path / "cross")
    for query in ("solar wind", "sky"):
        found = cli("search", lexical_index, query, "--rerank", model, "--rerank-precision", "int8", "--json")
        assert found.code == 0, found.err
        assert "rerank" in found.json["hits"][0]["signals"]
    assert caplog.text.count("int8: correlation with float32 1.0000 on average") == 2
    assert len(list(model.glob("retrieval-int8/*/calibration.json"))) == 1


def test_results_name_the_quantised_model(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """Which the collection's queries calibrated."""
    data, model = tmp_path / "data", write_cross_encoder(tmp_path / "cross")
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_bytes(corpus.read_bytes())
    write_jsonl(data / "queries.jsonl", {"_id": "q", "text": "solar wind"})
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tb\t1\n")
    found = cli(
        *("eval", "run", data, "--out", tmp_path / "out", "--rerank", model, "--rerank-precision", "int8", "--json")
    )
    assert found.code == 0, found.err
    settings = found.json["systems"][1]["settings"]["rerank"]["model"]
    assert (settings["precision"], settings["runtime"]) == ("int8", "openvino")
    assert settings["quantised"].startswith("sha256:")
