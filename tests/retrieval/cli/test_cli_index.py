import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval.indexing import Index

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]


def build(cli: Cli, corpus: object, out: Path, *options: object) -> Any:
    """The summary that `index build --json` prints."""
    answer = cli("index", "build", corpus, "--out", out, "--json", *options)
    assert answer.code == 0, answer.err
    return answer.json


def test_build_makes_an_index_and_says_so_on_stderr(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """One line, without a progress bar, as it is no terminal; nothing stands on stdout, where data would."""
    answer = cli("index", "build", corpus, "--out", tmp_path / "index")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.startswith(f"{tmp_path / 'index'}: 6 documents, lexical, ")
    assert answer.err.count("\n") == 1
    assert [document.id for document in Index.open(tmp_path / "index").documents] == [
        *("a", "b", "c", "d", "twin-1", "twin-2")
    ]


def test_build_json_describes_the_index(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """The same as `info --json`, and how many records were skipped."""
    summary = build(cli, corpus, tmp_path / "index")
    assert summary.pop("skipped") == 0
    assert summary == cli("index", "info", tmp_path / "index", "--json").json
    assert summary["path"] == str(tmp_path / "index")
    assert summary["documents"] == 6
    assert summary["bytes"] > 0
    assert summary["dense"] is None
    assert summary["lexical"]["bm25"] == {"method": "lucene", "k1": 1.5, "b": 0.75, "delta": 0.5}
    assert summary["lexical"]["analyzer"]["stemmer"] == "english"
    assert summary["provenance"]["corpus"] == [str(corpus)]
    assert summary["provenance"]["command"][:3] == ["retrieval", "index", "build"]


def test_build_with_a_dense_part_notes_what_the_model_says(
    cli: Cli, corpus: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """Dimensions, pooling, similarity, length and weights; the empty document has no vector."""
    summary = build(cli, corpus, tmp_path / "index", "--dense", tiny_model, "--no-lexical")
    assert summary["lexical"] is None
    dense, encoder = summary["dense"], summary["dense"]["encoder"]
    assert (dense["vectors"], dense["dimensions"], dense["similarity"]) == (5, 16, "cosine")
    assert (encoder["model"], encoder["pooling"], encoder["max_length"]) == (str(tiny_model), "mean", 32)
    assert encoder["weights"].startswith("sha256:")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--bm25", "anserini"], {"method": "lucene", "k1": 0.9, "b": 0.4}),
        (["--bm25", "anserini", "--k1", "1.2"], {"k1": 1.2, "b": 0.4}),
        (["--method", "bm25+", "--b", "0", "--delta", "1"], {"method": "bm25+", "b": 0.0, "delta": 1.0}),
        (["--method", "robertson"], {"method": "robertson", "k1": 1.5, "b": 0.75}),
    ],
)
def test_bm25_is_chosen_by_preset_and_parameter(
    cli: Cli, corpus: Path, tmp_path: Path, options: list[str], expected: dict[str, Any]
) -> None:
    """A parameter given beside a preset wins."""
    assert build(cli, corpus, tmp_path / "index", *options)["lexical"]["bm25"].items() >= expected.items()


@pytest.mark.parametrize(
    ("options", "tokenizer", "stemmer", "has_stopwords"),
    [
        (["--language", "german"], "words", "german", True),
        (["--language", "japanese"], "bigrams", None, False),
        (["--language", "none"], "words", None, False),
        (["--no-stem"], "words", None, True),
        (["--no-stopwords", "--tokenizer", "bigrams"], "bigrams", "english", False),
    ],
)
def test_the_analyzer_is_chosen_by_language_and_option(
    cli: Cli, corpus: Path, tmp_path: Path, options: list[str], tokenizer: str, stemmer: str | None, has_stopwords: bool
) -> None:
    """Tokenizer, stop words and stemmer stand in the manifest."""
    analyzer = build(cli, corpus, tmp_path / "index", *options)["lexical"]["analyzer"]
    assert (analyzer["tokenizer"], analyzer["stemmer"], bool(analyzer["stopwords"])) == (
        tokenizer,
        stemmer,
        has_stopwords,
    )


def test_several_sources_make_one_index(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """Of different formats, in the order they are given."""
    (tmp_path / "more.csv").write_text("id,text,year\nz,plasma,1990\n")
    assert cli("index", "build", corpus, tmp_path / "more.csv", "--out", tmp_path / "index").code == 0
    index = Index.open(tmp_path / "index")
    assert len(index) == 7
    assert (index.documents[6].id, index.documents[6].metadata) == ("z", {"year": "1990"})


def test_a_corpus_comes_through_standard_input(
    cli: Cli, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` stands for it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(corpus.read_bytes())))
    assert build(cli, "-", tmp_path / "index")["documents"] == 6


def test_fields_can_be_named(cli: Cli, tmp_path: Path) -> None:
    """Where a file calls id, title and text otherwise."""
    (tmp_path / "c.csv").write_text("docno,head,body\nz,Title,plasma\n")
    build(cli, tmp_path / "c.csv", tmp_path / "index", "--id-field=docno", "--title-field=head", "--text-field", "body")
    document = Index.open(tmp_path / "index").documents[0]
    assert (document.id, document.title, document.text) == ("z", "Title", "plasma")


def test_an_empty_corpus_makes_an_index_without_hits(cli: Cli, jsonl: Jsonl, tmp_path: Path) -> None:
    """Nothing to find is not an error."""
    assert build(cli, jsonl("empty.jsonl"), tmp_path / "index")["documents"] == 0
    answer = cli("search", tmp_path / "index", "aurora")
    assert (answer.code, answer.out) == (0, "")


GOOD, BAD = {"_id": "1", "text": "aurora"}, {"_id": "2", "text": 5}


def test_a_bad_record_stops_the_build_and_leaves_nothing(cli: Cli, jsonl: Jsonl, tmp_path: Path) -> None:
    """File, line and reason are told."""
    path = jsonl("bad.jsonl", GOOD, BAD)
    answer = cli("index", "build", path, "--out", tmp_path / "index")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"error: {path}:2: text must be a string; got int\n"
    assert not (tmp_path / "index").exists()


def test_skip_counts_bad_records_and_shows_some(cli: Cli, jsonl: Jsonl, tmp_path: Path) -> None:
    """On stderr and in the JSON."""
    path = jsonl("bad.jsonl", BAD, GOOD, GOOD, "oops")
    answer = cli("index", "build", path, "--out", tmp_path / "index", "--on-error", "skip", "--json")
    assert answer.code == 0
    assert (answer.json["documents"], answer.json["skipped"]) == (1, 3)
    assert answer.err.startswith(
        "skipped 3 of 4 records, among them:\n"
        f"  {path}:1: text must be a string; got int\n"
        f"  {path}:3: duplicate id '1'\n"
        f"  {path}:4: a JSON str, expected an object\n"
    )


def test_an_index_is_replaced_only_when_asked(cli: Cli, lexical_index: Path, jsonl: Jsonl) -> None:
    """The refusal says how; the new index holds nothing of the old."""
    other = jsonl("other.jsonl", GOOD)
    answer = cli("index", "build", other, "--out", lexical_index)
    assert answer.code == 1
    assert "already holds an index\nhint: replace it with --overwrite" in answer.err
    assert len(Index.open(lexical_index)) == 6
    assert build(cli, other, lexical_index, "--overwrite")["documents"] == 1
    assert len(Index.open(lexical_index)) == 1


def test_a_failed_overwrite_leaves_the_old_index(cli: Cli, lexical_index: Path, jsonl: Jsonl) -> None:
    """Whole, and nothing beside it."""
    before = sorted(lexical_index.rglob("*"))
    assert cli("index", "build", jsonl("bad.jsonl", GOOD, BAD), "--out", lexical_index, "--overwrite").code == 1
    assert sorted(lexical_index.rglob("*")) == before
    assert cli("index", "verify", lexical_index).code == 0


def test_a_folder_of_other_things_is_never_overwritten(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """Even with --overwrite."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    answer = cli("index", "build", corpus, "--out", folder, "--overwrite")
    assert answer.code == 1
    assert f"error: {folder} is there and is not just an index" in answer.err
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_info_shows_what_an_index_holds(cli: Cli, hybrid_index: Path, tiny_model: Path) -> None:
    """A table on stdout whose cells are not cut off, whatever the width."""
    answer = cli("index", "info", hybrid_index)
    assert (answer.code, answer.err) == (0, "")
    for text in ("lucene, k1 1.5, b 0.75", f"{tiny_model}, cosine", "5 × 16", str(hybrid_index)):
        assert text in answer.out
    assert Index.open(hybrid_index).manifest.fingerprint in answer.out


def test_info_shows_names_as_they_are(cli: Cli, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Square brackets and colons are no markup, and a narrow terminal cuts nothing."""
    monkeypatch.chdir(tmp_path)
    Path("[red]").mkdir()
    corpus.rename("[red]/:smile:.jsonl")
    build(cli, "[red]/:smile:.jsonl", Path("[bold]index"))
    monkeypatch.setenv("COLUMNS", "30")
    out = cli("index", "info", "[bold]index").out
    assert "[red]/:smile:.jsonl" in out
    assert "[bold]index" in out
    assert "fingerprint" in out


def test_verify_passes_what_was_written(cli: Cli, hybrid_index: Path) -> None:
    """Talk only, and exit code 0."""
    answer = cli("index", "verify", hybrid_index)
    assert (answer.code, answer.out) == (0, "")
    assert "files as they were written" in answer.err


def test_verify_names_a_file_that_was_altered(cli: Cli, hybrid_index: Path) -> None:
    """One flipped bit is enough, which opening alone would not see."""
    path = hybrid_index / "segment-1" / "vectors.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    answer = cli("index", "verify", hybrid_index)
    assert answer.code == 1
    assert f"{path}: its checksum is not the manifest's" in answer.err
    assert "hint: restore the index from a copy, or build it again" in answer.err


def test_verify_names_every_file_that_is_not_as_it_was(cli: Cli, hybrid_index: Path) -> None:
    """Also where the index cannot be opened any more."""
    (hybrid_index / "segment-1" / "ids.arrow").unlink()
    (hybrid_index / "segment-1" / "vectors.npy").write_bytes(b"short")
    path = hybrid_index / "generation-1" / "lexical" / "impacts.npy"
    path.write_bytes(bytes(path.stat().st_size))
    err = cli("index", "verify", hybrid_index).err
    assert all(text in err for text in ("ids.arrow: is missing", "vectors.npy: has 5 bytes", f"{path}: its checksum"))
    assert "3 problems" in err


def test_a_missing_file_is_named(cli: Cli, lexical_index: Path) -> None:
    """By every command, when the index is opened."""
    path = lexical_index / "segment-1" / "texts.arrow"
    path.unlink()
    for command in (["index", "info"], ["search"], ["index", "delete"]):
        answer = cli(*command, lexical_index, *(["aurora"] if command != ["index", "info"] else []))
        assert answer.code == 1
        assert f"error: {path}: is missing" in answer.err


def test_a_terminal_sees_progress(corpus: Path, tmp_path: Path, tiny_model: Path) -> None:
    """Bars for reading and encoding, with the rate, to their end; a pipe sees none."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "retrieval", "index", "build", corpus, "--out", tmp_path / "i"]
    with subprocess.Popen([*command, "--dense", tiny_model], stdout=subprocess.DEVNULL, stderr=slave) as build:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 1 << 16)
            except OSError:  # the other end was closed
                break
            shown += part
            if not part:
                break
    os.close(master)
    assert build.returncode == 0
    assert all(text in shown for text in (b"read", b"encode", b"6/6", b"documents/s"))


def test_a_dense_index_is_named_and_shown(
    cli: Cli, jsonl: Jsonl, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kind, and the recall that it has on held-out vectors, which reaches what was asked for."""
    monkeypatch.setattr("retrieval.index.dense.kinds._FEWEST", 50)
    corpus = jsonl("many.jsonl", *({"_id": str(i), "text": f"word{i} aurora {i % 7}"} for i in range(150)))
    options = ("--dense", tiny_model, "--dense-index", "sq8", "--recall", "0.9")
    dense = build(cli, corpus, tmp_path / "index", *options)["dense"]
    assert (dense["index"], dense["recall"]) == ("sq8", 0.9)
    assert dense["segments"]["segment-1"]["factory"] == "SQ8"
    assert dense["segments"]["segment-1"]["efforts"][0]["recall"] >= 0.9
    assert "sq8 (SQ8), recall" in cli("index", "info", tmp_path / "index").out
    assert len(cli("search", tmp_path / "index", "aurora", "--using", "dense", "--json").json["hits"]) == 10
