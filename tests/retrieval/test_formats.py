import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.corpus import OnError, ReadReport, read_documents
from retrieval.errors import CorpusError
from retrieval.formats import records_of
from retrieval.types import Document

LINES = b'{"_id": "1", "title": "Aurora", "text": "Solar wind."}\n{"_id": "2", "text": "Storm."}\n'
PAIR = [Document(id="1", title="Aurora", text="Solar wind."), Document(id="2", text="Storm.")]

MANY = b"".join(b'{"_id": "%d", "text": ""}\n' % number for number in range(1000))


def zstd(content: bytes) -> bytes:
    """One zstd frame."""
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


def write(path: Path, content: bytes | str) -> Path:
    """Write a file, exactly as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path) -> list[Document]:
    """Every document of one source."""
    return list(read_documents(path))


def skip(path: Path) -> tuple[list[str], ReadReport]:
    """The ids of the readable documents, and the report of the others."""
    report = ReadReport()
    return [document.id for document in read_documents(path, on_error="skip", report=report)], report


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("corpus.jsonl", LINES),
        ("corpus.ndjson", LINES),
        ("no-newline.jsonl", LINES.rstrip()),
        ("blank-lines.jsonl", b"\n" + LINES.replace(b"\n", b"\n  \n")),
        ("windows.jsonl", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n")),
        ("corpus.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("members.jsonl.gz", gzip.compress(LINES[:60], mtime=0) + gzip.compress(LINES[60:])),
        ("corpus.jsonl.zst", zstd(LINES)),
        ("frames.jsonl.zst", zstd(LINES[:60]) + zstd(LINES[60:])),
        ("corpus.csv", "_id,title,text\n1,Aurora,Solar wind.\n2,,Storm.\n"),
        ("quoted.csv", '"_id","title","text"\r\n"1","Aurora","Solar wind."\r\n\r\n"2","","Storm."\r\n'),
        ("bom.csv", "\ufeff_id,title,text\n1,Aurora,Solar wind.\n2,,Storm."),
        ("corpus.csv.gz", gzip.compress(b"_id,title,text\n1,Aurora,Solar wind.\n2,,Storm.\n", mtime=0)),
        ("corpus.tsv", "text\ttitle\tid\nSolar wind.\tAurora\t1\nStorm.\t\t2\n"),
        ("windows.tsv", "\ufefftext\ttitle\tid\r\nSolar wind.\tAurora\t1\r\nStorm.\t\t2\r\n"),
    ],
)
def test_files_of_every_format_hold_the_same_documents(tmp_path: Path, name: str, content: bytes | str) -> None:
    """JSONL, CSV and TSV, compressed or not, of Unix or Windows, read alike."""
    assert read(write(tmp_path / name, content)) == PAIR


def test_parquet_is_read_with_its_further_columns_as_metadata(tmp_path: Path) -> None:
    """Columns are fields; an integer id becomes a string, and a missing title is none."""
    table = pa.table({"id": [1, 2], "title": ["Aurora", None], "text": ["Solar wind.", "Storm."], "tags": [["x"], []]})
    pq.write_table(table, tmp_path / "corpus.parquet")
    first, second = read(tmp_path / "corpus.parquet")
    assert first == Document(id="1", title="Aurora", text="Solar wind.", metadata={"tags": ["x"]})
    assert second == Document(id="2", text="Storm.", metadata={"tags": []})


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"])
def test_a_beir_folder_is_its_corpus_and_nothing_else(tmp_path: Path, name: str) -> None:
    """Queries, judgements and notes beside corpus.jsonl are no documents."""
    packed: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd}
    write(tmp_path / name, packed.get(Path(name).suffix, bytes)(LINES))
    write(tmp_path / "queries.jsonl", '{"_id": "q", "text": "why?"}\n')
    write(tmp_path / "README.md", "# Notes\n")
    assert read(tmp_path) == PAIR


def test_a_folder_of_texts_is_one_document_per_file(tmp_path: Path) -> None:
    """The path below the folder is the id, a Markdown file's first heading its title too; other files are left out."""
    write(tmp_path / "b.md", "# Aurora\r\n\r\nSolar wind.\r\n")
    write(tmp_path / "deep" / "er" / "a.txt", "# 1 is no heading here")
    write(tmp_path / "c.markdown", "\ufeffNo heading")
    write(tmp_path / "empty.txt", "")
    write(tmp_path / "picture.png", b"\x89PNG")
    assert read(tmp_path) == [
        Document(id="b.md", title="Aurora", text="# Aurora\n\nSolar wind.\n"),
        Document(id="c.markdown", text="No heading"),
        Document(id="deep/er/a.txt", text="# 1 is no heading here"),
        Document(id="empty.txt", text=""),
    ]


def test_a_single_text_file_is_a_document_under_its_name(tmp_path: Path) -> None:
    """The folder above it is no part of the id."""
    assert read(write(tmp_path / "note.txt", "Solar wind.")) == [Document(id="note.txt", text="Solar wind.")]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSONL arrives there, and an error names it and the line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES + b"oops\n")))
    documents = read_documents("-")
    assert [next(documents), next(documents)] == PAIR
    with pytest.raises(CorpusError, match=r"^standard input:3: not JSON"):
        next(documents)


def test_csv_fields_hold_commas_quotes_and_newlines(tmp_path: Path) -> None:
    """A quoted field is taken as it stands, and the line of a later error counts the newlines inside it."""
    path = write(tmp_path / "c.csv", 'id,text\n1,"a, ""b""\r\nc"\n2,d\n,e\n')
    documents = read_documents(path)
    assert next(documents).text == 'a, "b"\r\nc'
    assert next(documents).text == "d"
    with pytest.raises(CorpusError, match=r"c\.csv:5: no id"):
        next(documents)


def test_a_quotation_mark_in_tsv_is_a_character(tmp_path: Path) -> None:
    """An unpaired one does not swallow the lines after it."""
    documents = read(write(tmp_path / "c.tsv", 'id\ttext\n1\t"open\n2\tshe said "no"\n'))
    assert [document.text for document in documents] == ['"open', 'she said "no"']


def test_a_field_may_be_as_long_as_a_book(tmp_path: Path) -> None:
    """Python's limit of 128 KiB a field does not stand in the way."""
    text = "word " * 100_000
    (document,) = read(write(tmp_path / "c.csv", f"id,text\n1,{text}\n"))
    assert document.text == text


@pytest.mark.parametrize("name", ["c.jsonl", "c.csv", "c.tsv"])
def test_an_empty_file_is_an_empty_corpus(tmp_path: Path, name: str) -> None:
    """Nothing to read is not an error."""
    assert read(write(tmp_path / name, "")) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{oops", "not JSON"),
        (b'["a"]', "a JSON list, expected an object"),
        (b'{"_id": "3", "text": "\xff"}', "not valid UTF-8"),
        (b'{"_id": "3", "text": "\\ud800"}', "surrogate"),
    ],
)
def test_a_line_that_is_no_json_object_is_named_or_skipped(tmp_path: Path, line: bytes, reason: str) -> None:
    """The error tells file, line and reason; under `skip` the lines around it are read."""
    path = write(tmp_path / "c.jsonl", LINES + line + b'\n{"_id": "4", "text": ""}\n')
    with pytest.raises(CorpusError, match=rf"c\.jsonl:3: .*{reason}"):
        read(path)
    ids, report = skip(path)
    assert ids == ["1", "2", "4"]
    assert (report.read, report.skipped) == (3, 1)
    assert f"{path}:3: " in report.examples[0]
    assert reason in report.examples[0]


@pytest.mark.parametrize(
    ("content", "line", "reason", "left"),
    [
        (b"id,text\n1,a\n2,b,c\n3,d\n", 3, "has 3 columns, the first line names 2", ["1", "3"]),
        (b"id,text\n1,a\n2\n3,d\n", 3, "has 1 columns, the first line names 2", ["1", "3"]),
        (b"id,text\n1,a\n2,\xff\n3,d\n", 3, "not UTF-8", ["1", "3"]),
        (b'id,text\n1,a\n2,"b"c\n3,d\n', 3, "not a row", ["1", "3"]),
        (b'id,text\n1,a\n2,"b\n3,d\n', 4, "not a row", ["1"]),
    ],
)
def test_a_bad_csv_row_is_named_or_skipped(
    tmp_path: Path, content: bytes, line: int, reason: str, left: list[str]
) -> None:
    """A wrong number of columns, bytes that are not UTF-8, and quotes that do not pair stop with the line."""
    path = write(tmp_path / "c.csv", content)
    with pytest.raises(CorpusError, match=rf"c\.csv:{line}: {reason}"):
        read(path)
    ids, report = skip(path)
    assert ids == left
    assert report.skipped == 1


def test_a_csv_whose_names_cannot_be_read_stops_either_way(tmp_path: Path) -> None:
    """Without column names no row can be understood, so `skip` does not help."""
    path = write(tmp_path / "c.csv", "id,text\n1,a\n".encode("utf-16"))
    with pytest.raises(CorpusError, match=r"c\.csv:1: not UTF-8"):
        read(path)
    with pytest.raises(CorpusError, match=r"c\.csv:1: not UTF-8"):
        skip(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.jsonl.gz", gzip.compress(MANY, mtime=0)[:-20]),
        ("c.jsonl.gz", gzip.compress(MANY, mtime=0)[:40]),
        ("c.jsonl.gz", LINES),
        ("c.csv.gz", gzip.compress(b"id,text\n1,a\n", mtime=0)[:-4]),
        ("c.jsonl.zst", zstd(MANY)[:-20]),
        ("c.jsonl.zst", LINES),
    ],
)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_compressed_file_that_is_cut_or_wrong_stops_either_way(
    tmp_path: Path, name: str, content: bytes, on_error: OnError
) -> None:
    """A part of a corpus is never taken for the whole."""
    path = write(tmp_path / name, content)
    with pytest.raises(CorpusError, match=rf"{name}: cannot be read to its end"):
        list(read_documents(path, on_error=on_error))


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1PAR1"])
def test_a_wrong_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    """The error says what the file is not."""
    with pytest.raises(CorpusError, match=r"c\.parquet: not a readable Parquet file"):
        read(write(tmp_path / "c.parquet", content))


def test_a_parquet_row_is_named_by_its_number(tmp_path: Path) -> None:
    """Rows count from 1, through the whole file."""
    pq.write_table(pa.table({"id": range(1501), "text": [*("a" * 1500), None]}), tmp_path / "c.parquet")
    with pytest.raises(CorpusError, match=r"c\.parquet:1501: text must be a string; got NoneType"):
        read(tmp_path / "c.parquet")


@pytest.mark.parametrize(
    ("name", "kind"), [("c.docx", ".docx"), ("c.jsonl.bz2", ".bz2"), ("corpus", "corpus"), ("c.txt.gz", ".txt")]
)
def test_an_unknown_kind_of_file_is_told_with_the_known_ones(tmp_path: Path, name: str, kind: str) -> None:
    """The hint lists what would be read."""
    with pytest.raises(CorpusError, match=rf"{name}: unknown kind of file '{kind}'") as caught:
        read(write(tmp_path / name, LINES))
    assert ".jsonl, .json, .ndjson, .csv, .tsv, .parquet" in (caught.value.hint or "")


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    """Neither a file nor a folder stands there."""
    with pytest.raises(CorpusError, match=r"absent\.jsonl: no such file or folder"):
        read(tmp_path / "absent.jsonl")


def test_a_folder_without_documents_is_named(tmp_path: Path) -> None:
    """The hint says what a folder of documents holds."""
    write(tmp_path / "data.bin", b"")
    with pytest.raises(CorpusError, match="no documents here") as caught:
        read(tmp_path)
    assert "corpus.jsonl" in (caught.value.hint or "")


def test_a_text_file_that_is_not_utf8_is_named_or_skipped(tmp_path: Path) -> None:
    """The other files of the folder are read under `skip`."""
    write(tmp_path / "a.txt", "fine")
    write(tmp_path / "b.txt", "Caf\xe9".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"b\.txt: not UTF-8"):
        read(tmp_path)
    ids, report = skip(tmp_path)
    assert ids == ["a.txt"]
    assert report.skipped == 1


def test_a_folder_is_read_without_what_is_hidden(tmp_path: Path) -> None:
    """Suffixes in capitals count, hidden files and folders do not."""
    for name in ("a.TXT", "b.Md", ".c.txt", ".git/d.txt", "sub/e.markdown", "f.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("wind")
    assert [record.fields["_id"] for record in records_of(str(tmp_path))] == ["a.TXT", "b.Md", "sub/e.markdown"]


def test_a_column_that_is_named_twice(tmp_path: Path) -> None:
    """One of them would be lost."""
    (tmp_path / "c.csv").write_text("_id,text,text\n1,a,b\n")
    with pytest.raises(CorpusError, match=r"c\.csv:1: names a column twice"):
        list(records_of(str(tmp_path / "c.csv")))


def test_an_empty_name_is_no_folder() -> None:
    """As of a shell variable that is not set; it would be the current folder."""
    with pytest.raises(CorpusError, match="an empty name of a file"):
        list(records_of(""))
