"""How a model is run, as typed, and what an index and its results say of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.encoders.runtimes import precision, quantising
from tests.retrieval.cli.conftest import Cli

pytest.importorskip("sentence_transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # of nncf and what it imports


def test_precision_and_dimensions_stand_in_info_and_serve_queries(
    cli: Cli, corpus: Path, tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    """With the prompts that the model declares; queries are cut as documents are, without being told."""
    model, index = make_model(query="aurora ", document="storm "), tmp_path / "index"
    options = ("--precision", "bf16", "--runtime", "torch", "--dimensions", 6, "--batch-tokens", 64, "--no-lexical")
    built = cli("index", "build", corpus, "--out", index, "--dense", model, *options, "--json")
    assert built.code == 0, built.err
    card = built.json["dense"]["encoder"]
    assert (card["precision"], card["runtime"], card["dimensions"]) == ("bfloat16", "torch", 6)
    shown = cli("index", "info", index).out
    for text in ("bfloat16, by torch", "prompt, query", "'aurora '", "× 6"):
        assert text in shown
    assert cli("search", index, "solar wind", "--json").json["hits"]


def test_results_say_how_vectors_were_made(
    cli: Cli, tmp_path: Path, tiny_model: Path, jsonl: Callable[..., Path]
) -> None:
    """And an index in another precision is not used for these."""
    jsonl("data/corpus.jsonl", {"_id": "a", "text": "solar wind"}, {"_id": "b", "text": "night sky"})
    jsonl("data/queries.jsonl", {"_id": "q", "text": "wind"})
    (tmp_path / "data" / "qrels").mkdir()
    (tmp_path / "data" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    command = ("eval", "run", tmp_path / "data", "--using", "dense", "--dense", tiny_model, "--out", tmp_path / "out")
    done = cli(*command, "--precision", "fp32", "--json")
    assert done.code == 0, done.err
    encoder = done.json["systems"][0]["settings"]["dense"]["encoder"]
    assert (encoder["precision"], encoder["runtime"], encoder["quantised"]) == ("float32", "torch", None)
    refused = cli(*command, "--precision", "bf16", "--runtime", "torch")
    assert refused.code == 1
    assert "was built with vectors in float32" in refused.err
    given = cli(*command, "--index", tmp_path / "out" / "index", "--precision", "bf16")
    assert given.code == 2
    assert "are for a new index" in given.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "int8", "--runtime", "torch"), "torch runs no model in int8"),
        (("--runtime", "openvino", "--precision", "bf16"), "this CPU has no bfloat16"),
        (("--dimensions", "17"), "has 16 dimensions"),
    ],
)
def test_what_cannot_be_had(
    cli: Cli,
    corpus: Path,
    tmp_path: Path,
    tiny_model: Path,
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Is usage, and nothing is built."""
    monkeypatch.setattr(precision, "cpu_has", lambda name: name == "float32")
    refused = cli("index", "build", corpus, "--out", tmp_path / "index", "--dense", tiny_model, *options)
    assert refused.code == 2
    assert message in refused.err
    assert not (tmp_path / "index").exists()


def test_an_index_in_int8(
    cli: Cli,
    corpus: Path,
    tmp_path: Path,
    make_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Calibrated by the corpus; more is added by the same model, and without it in floats, if that is asked for."""
    for package in ("openvino", "nncf"):
        pytest.importorskip(package)
    monkeypatch.setattr(quantising, "quantise", lambda model, batches, exact: model)  # which is not what is tested here
    model, index = make_model(), tmp_path / "index"
    built = cli("index", "build", corpus, "--out", index, "--dense", model, "--precision", "int8", "--json")
    assert built.code == 0, built.err
    assert "cosine with float32" in caplog.text
    digest = built.json["dense"]["encoder"]["quantised"]
    assert digest.startswith("sha256:")
    assert digest in cli("index", "info", index).out
    assert cli("search", index, "solar wind", "--using", "dense", "--json").json["hits"]
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "new", "text": "plasma at night"}\n')
    added = cli("index", "add", index, more, "--json")
    assert added.code == 0, added.err
    assert added.json["dense"]["encoder"]["quantised"] == digest
    (kept,) = model.rglob("calibration.json")
    kept.unlink()
    more.write_text('{"id": "newer", "text": "ion storm"}\n')
    refused = cli("index", "add", index, more)
    assert refused.code == 1
    assert "--precision fp32" in refused.err
    assert cli("index", "add", index, more, "--precision", "fp32").code == 0
