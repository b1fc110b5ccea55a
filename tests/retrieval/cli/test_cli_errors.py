import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import retrieval
from tests.retrieval.cli.conftest import write_jsonl

Cli = Callable[..., Any]


def python(*arguments: object, stdin: int | None = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    """`python -m retrieval` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "retrieval", *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_version_is_data(cli: Cli) -> None:
    """On stdout, alone."""
    assert cli("--version") == (0, f"{retrieval.__version__}\n", "")


@pytest.mark.parametrize("command", [[], ["index"], ["eval"], ["index", "build"], ["search"], ["eval", "run"]])
def test_help_is_there_for_every_command(cli: Cli, command: list[str]) -> None:
    """In its long and its short form, with exit code 0."""
    for option in ("--help", "-h"):
        answer = cli(*command, option)
        assert answer.code == 0
        assert " ".join([*command, "[OPTIONS]"]) in answer.out


USAGE = [
    (["search", "{index}"], "give either QUERY or --queries FILE"),
    (["search", "{index}", "aurora", "--queries", "q.tsv"], "give either QUERY or --queries FILE"),
    (["search", "{index}", "--queries", "{data}"], "is a directory"),
    (["search", "{index}", "aurora", "--out", "run.trec"], "--out goes with --queries FILE"),
    (["search", "{index}", "\udcff aurora"], "QUERY is not text in UTF-8"),
    (["search", "{index}", "aurora", "-k", "-1"], "Invalid value for '-k'"),
    (["search", "{index}", "aurora", "-k", "many"], "Invalid value for '-k'"),
    (["search", "{index}", "aurora", "--fusion", "sum"], "'minmax', 'rrf', 'zscore'"),
    (
        ["search", "{index}", "aurora", "--using", "magic"],
        "using must be one of lexical, sparse, dense, hybrid, or several as lexical+sparse; got 'magic'",
    ),
    (["search", "{index}", "aurora", "--weight", "lexical"], "--weight takes STAGE=NUMBER, as lexical=0.5"),
    (["search", "{index}", "aurora", "--weight", "lexical=-1"], "weight of 'lexical' must be a number of at least 0"),
    (["search", "{index}", "aurora", "--weight", "lexcal=1"], "a stage of lexical, sparse, dense; got 'lexcal=1'"),
    (["search", "{index}", "aurora", "--depth", "0"], "Invalid value for '--depth'"),
    (["search", "{index}", "aurora", "--fusion", "rrf"], "--fusion is for search with several lists"),
    (["search", "{index}", "aurora", "--weight", "lexical=2"], "--weight is for search with several lists"),
    (["search", "{index}", "aurora", "--using", "lexical", "--depth", "9"], "--depth is for search with several lists"),
    (["search", "{index}", "aurora", "--rerank-depth", "9"], "--rerank-depth is for --rerank MODEL"),
    (["search", "{index}", "aurora", "--rerank-weight", "1"], "--rerank-weight is for --rerank MODEL"),
    (["search", "{index}", "aurora", "--nonsense"], "No such option: --nonsense"),
    (["index", "build", "{corpus}"], "Missing option '--out'"),
    (
        ["index", "build", "{corpus}", "--out", "{new}", "--no-lexical"],
        "an index needs a lexical, sparse or dense part",
    ),
    (["index", "build", "{corpus}", "--out", "{new}", "--bm25", "best"], "preset must be one of bm25s, anserini"),
    (["index", "build", "{corpus}", "--out", "{new}", "--method", "tfidf"], "got 'tfidf'"),
    (["index", "build", "{corpus}", "--out", "{new}", "--b", "2"], "BM25 b must be a number from 0 to 1; got 2.0"),
    (["index", "build", "{corpus}", "--out", "{new}", "--language", "klingon"], "got 'klingon'"),
    (
        ["index", "build", "{corpus}", "--out", "{new}", "--tokenizer", "magic"],
        "known here: bigrams, marked-words, words",
    ),
    (["index", "build", "{corpus}", "--out", "{new}", "--on-error", "ignore"], "'stop', 'skip'"),
    (["index", "build", "{corpus}", "--out", "{new}", "--recall", "0.9"], "hint: add --dense-index auto"),
    (
        ["index", "build", "{corpus}", "--out", "{new}", "--dense-index", "hnsw"],
        "--dense-index and --memory are for a dense part",
    ),
    (["index", "build", "{corpus}", "--out", "{new}", "--memory", "2 apples"], "--memory '2 apples' is no size"),
    (
        ["index", "build", "{corpus}", "--out", "{new}", "--dense", "minilm", "--memory", "2GB"],
        "hint: give it with --dense-index auto",
    ),
    (["eval", "run", "{data}", "--out", "{new}", "--using", "lexical,magic"], "got 'magic'"),
    (["eval", "run", "{data}", "--out", "{new}", "--using", "dense"], "hint: name one: --dense minilm"),
    (["eval", "run", "{data}", "--out", "{new}", "--measures", "nDGC@10"], "knows no measure 'nDGC@10'"),
    (["eval", "run", "{data}", "--out", "{new}", "--weight", "magic=1"], "got 'magic=1'"),
    (["eval", "run", "{data}", "--out", "{new}", "--fusion", "minmax"], "--fusion is for search with several lists"),
    (["eval", "run", "{data}", "--out", "{new}", "--rerank-weight", "0"], "--rerank-weight is for --rerank MODEL"),
    (
        [
            *("eval", "run", "{data}", "--out", "{new}", "--using", "hybrid", "--weight", "dense=1"),
            *("--sparse-vectors", "{vectors}", "--query-vectors", "{vectors}"),
        ],
        "a weight is given for 'dense'; the lists are lexical, sparse",
    ),
    (["teleport"], "No such command 'teleport'"),
]

FAILURES = [
    (
        ["search", "{tmp}", "aurora"],
        "error: no index at {tmp}\nhint: build one: retrieval index build CORPUS --out DIR\n",
    ),
    (["search", "{tmp}/absent", "aurora"], "error: no index at {tmp}/absent\nhint: build one"),
    (["index", "info", "{corpus}"], "error: no index at {corpus}\nhint: build one"),
    (["index", "verify", "{tmp}"], "error: no index at {tmp}\nhint: build one"),
    (["search", "{index}", "aurora", "--using", "dense"], "has no dense part, which dense search needs"),
    (["search", "{index}", "aurora", "--using", "hybrid"], "hint: build it with one: --dense MODEL"),
    (["search", "{index}", "--queries", "{tmp}/absent.tsv"], "error: {tmp}/absent.tsv: no such file or folder"),
    (["index", "build", "{tmp}/absent.jsonl", "--out", "{new}"], "error: {tmp}/absent.jsonl: no such file or folder"),
    (["index", "build", "{corpus}", "--out", "{index}"], "hint: replace it with --overwrite"),
    (["index", "build", "{corpus}", "--out", "{corpus}"], "hint: name a new or an empty folder"),
    (
        ["index", "build", "{corpus}", "--out", "{new}", "--dense", "./nowhere"],
        "no such folder\nhint: name a local folder",
    ),
    (["eval", "run", "{tmp}", "--out", "{new}"], "hint: expected BEIR's layout: queries.jsonl, qrels/test.tsv"),
    (["eval", "run", "{data}", "--out", "{new}", "--split", "dev"], "dev.tsv: no such file\nhint: splits here: test"),
    (["eval", "run", "{data}", "--out", "{new}", "--index", "{tmp}"], "error: no index at {tmp}"),
    (["eval", "run", "{data}", "--out", "{new}", "--rerank", "./nowhere"], "no such folder\nhint: name a local folder"),
]


@pytest.fixture
def places(tmp_path: Path, corpus: Path, lexical_index: Path) -> dict[str, Path]:
    """What the commands of this file are about; {new} does not exist."""
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_bytes(corpus.read_bytes())
    (data / "queries.jsonl").write_text('{"_id": "q", "text": "aurora"}\n')
    (data / "qrels" / "test.tsv").write_text("q\ta\t1\n")
    ids = ["q", *(json.loads(line)["_id"] for line in corpus.read_text().splitlines())]
    vectors = write_jsonl(tmp_path / "vectors.jsonl", *({"id": id_, "vector": {"sky": 1.0}} for id_ in ids))
    there = {"tmp": tmp_path, "corpus": corpus, "index": lexical_index, "data": data, "vectors": vectors}
    return {**there, "new": tmp_path / "new"}


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=[" ".join(case[0]) for case in USAGE])
def test_wrong_usage_is_told_with_exit_code_2(
    cli: Cli, places: dict[str, Path], arguments: list[str], message: str
) -> None:
    """On stderr, before anything is built."""
    answer = cli(*(argument.format(**places) for argument in arguments))
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not places["new"].exists()


@pytest.mark.parametrize(("arguments", "message"), FAILURES, ids=[" ".join(case[0]) for case in FAILURES])
def test_a_failure_is_told_in_words_with_exit_code_1(
    cli: Cli, places: dict[str, Path], arguments: list[str], message: str
) -> None:
    """What is wrong, where, and what to do; nothing half-made is left."""
    answer = cli(*(argument.format(**places) for argument in arguments))
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: ")
    assert message.format(**places) in answer.err
    assert not places["new"].exists()


def test_a_file_that_may_not_be_written_is_named(cli: Cli, places: dict[str, Path]) -> None:
    """What the operating system says is passed on, without a traceback."""
    (places["tmp"] / "q.tsv").write_text("q\taurora\n")
    out = places["corpus"] / "run.trec"
    answer = cli("search", places["index"], "--queries", places["tmp"] / "q.tsv", "--out", out)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines()[-1].startswith("error: ")
    assert str(places["corpus"]) in answer.err


def test_the_module_is_the_command(corpus: Path, tmp_path: Path) -> None:
    """`python -m retrieval` reads a corpus from a pipe and exits as the command does."""
    out = tmp_path / "index"
    process = python("index", "build", "-", "--out", out, "--json", stdin=subprocess.PIPE)
    stdout, stderr = process.communicate(corpus.read_bytes() + b"oops\n")
    assert (process.returncode, stdout) == (1, b"")
    assert stderr.startswith(b"error: standard input:7: not JSON")
    process = python("index", "build", "-", "--out", out, "--json", stdin=subprocess.PIPE)
    stdout, _ = process.communicate(corpus.read_bytes())
    assert (process.returncode, json.loads(stdout)["documents"]) == (0, 6)


def test_a_reader_that_leaves_early_is_no_fault_of_ours(places: dict[str, Path]) -> None:
    """As `| head` does: no traceback is shown."""
    (places["tmp"] / "q.tsv").write_text("".join(f"{number}\tsolar wind\n" for number in range(5000)))
    process = python("search", places["index"], "--queries", places["tmp"] / "q.tsv")
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    talk = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    # The first process of a checkout says that it compiles kernels, before.
    assert [line for line in talk.splitlines() if b"compiling kernels" not in line] == [b"5000 queries, 10000 hits"]
