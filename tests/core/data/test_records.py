"""Reading: every line is kept or quarantined, whatever is wrong with it."""

import bz2
import gzip
import json
import lzma
import re
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lathe.core.data import LABELLED, Bad, Record, load, read_rows
from lathe.core.errors import DataError

GOOD = b'{"text": "good film", "label": "positive"}'
PACK = {".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, ".xz": lzma.compress}

BAD_LINES = {
    "not json": (b"hello", "not JSON"),
    "cut off": (b'{"text": "goo', "not JSON"),
    "two objects": (b'{"text": "a"} {"text": "b"}', "not JSON"),
    "raw NUL": (b'{"text": "a\x00b", "label": "x"}', "not JSON"),
    "a list": (b'["text"]', "a list, not an object"),
    "a string": (b'"text"', "a string, not an object"),
    "a number": (b"12", "a number, not an object"),
    "null": (b"null", "null, not an object"),
    "invalid UTF-8": (b'{"text": "\xff\xfe", "label": "x"}', "not UTF-8: byte 0xff"),
    "a line in GBK": ('{"text": "很好", "label": "x"}'.encode("gbk"), "not UTF-8"),
    "duplicate key": (b'{"text": "a", "text": "b", "label": "x"}', "the key stands twice"),
    "NaN": (b'{"text": NaN, "label": "x"}', "NaN is not JSON"),
    "infinity": (b'{"text": "a", "label": "x", "score": -Infinity}', "-Infinity is not JSON"),
    "too large": (b'{"text": "a", "label": "x", "score": 1e999}', "too large"),
    "huge integer": (b'{"text": "a", "label": "x", "n": ' + b"9" * 5000 + b"}", "more than 64 bits"),
    "half a surrogate pair": (b'{"text": "a\\ud83d", "label": "x"}', "half a surrogate pair"),
    "deep": (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b', "label": "x"}', "nested too deeply"),
    "no text": (b'{"label": "x"}', "the column is missing"),
    "no label": (b'{"text": "a"}', "the column is missing"),
    "null text": (b'{"text": null, "label": "x"}', "the text is missing"),
    "empty text": (b'{"text": "", "label": "x"}', "the text is empty"),
    "blank text": ('{"text": " \u3000", "label": "x"}'.encode(), "the text is empty"),
    "number as text": (b'{"text": 12, "label": "x"}', "a number, not a string"),
    "list as text": (b'{"text": ["a"], "label": "x"}', "a list, not a string"),
    "escaped NUL": (b'{"text": "a\\u0000", "label": "x"}', "NUL character at position 1"),
    "null label": (b'{"text": "a", "label": null}', "the label is missing"),
    "blank label": (b'{"text": "a", "label": " "}', "the label is empty"),
    "fraction as label": (b'{"text": "a", "label": 0.5}', "the label is a number"),
    "list as label": (b'{"text": "a", "label": ["x", "y"]}', "the label is a list"),
}


@pytest.mark.parametrize("line, reason", BAD_LINES.values(), ids=BAD_LINES)
@pytest.mark.parametrize("place", [0, 5, 10])
def test_a_bad_line_is_quarantined_and_all_good_ones_are_kept(tmp_path, line, reason, place):
    file = tmp_path / "rows.jsonl"
    lines = [GOOD] * 10
    lines.insert(place, line)
    file.write_bytes(b"\n".join(lines) + b"\n")
    table = load(file, LABELLED)
    (bad,) = table.bad
    assert len(table.rows) == 10
    assert (bad.file, bad.line) == (str(file), place + 1)
    assert reason in bad.reason
    assert bad.fix
    assert place + 1 not in table.lines
    json.dumps(bad.value).encode("utf-8")


def test_a_bad_field_is_named_as_the_user_names_it(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"review": "a", "category": "x"}\n{"review": "", "category": "x"}\n', encoding="utf-8")
    assert load(file, LABELLED).bad[0].field == "review"


def test_line_ends_inside_a_text_are_no_line_ends(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes('\ufeff{"text": "a\u2028b\x85c"}\r\n\r\n{"text": "d"}'.encode())
    assert list(read_rows(file)) == [Record(1, {"text": "a\u2028b\x85c"}, 3), Record(3, {"text": "d"}, 27)]


def test_the_offset_of_a_bad_byte_counts_from_the_start_of_the_file(tmp_path):
    file = tmp_path / "rows.txt"
    content = "\ufeffa\r\nb".encode() + b"\xe9 c\n"
    file.write_bytes(content)
    _, bad = read_rows(file)
    assert bad.reason.endswith(f"offset {content.index(0xE9.to_bytes())}")


@pytest.mark.parametrize("suffix", ["", *PACK])
@pytest.mark.parametrize(
    "name, content",
    [
        ("a.jsonl", '{"text": "好", "label": "x"}\n{"text": "b c", "label": "y"}\n'),
        ("a.csv", "text,label\n好,x\nb c,y\n"),
        ("a.tsv", "text\tlabel\n好\tx\nb c\ty\n"),
    ],
)
def test_every_format_gives_the_same_rows_compressed_or_not(tmp_path, name, content, suffix):
    file = tmp_path / (name + suffix)
    file.write_bytes(PACK.get(suffix, bytes)(content.encode()))
    assert load(file, LABELLED).rows == [{"text": "好", "label": "x"}, {"text": "b c", "label": "y"}]


@pytest.mark.parametrize("suffix", PACK)
def test_streams_that_were_concatenated_are_read_to_the_end(tmp_path, suffix):
    file = tmp_path / f"a.txt{suffix}"
    file.write_bytes(PACK[suffix](b"a\nb") + PACK[suffix](b"c\nd\n"))
    assert [record.row["text"] for record in read_rows(file)] == ["a", "bc", "d"]


@pytest.mark.parametrize("suffix", PACK)
def test_a_truncated_file_is_an_error_that_says_how_much_could_be_read(tmp_path, suffix):
    file = tmp_path / f"a.txt{suffix}"
    packed = PACK[suffix](b"a\n" * 100)
    file.write_bytes(packed + packed[:-4])
    with pytest.raises(DataError, match=r"a\.txt.*ends early: \d+ rows could be read"):
        list(read_rows(file))


@pytest.mark.parametrize("suffix", PACK)
def test_rubbish_after_a_stream_is_an_error(tmp_path, suffix):
    file = tmp_path / f"a.txt{suffix}"
    file.write_bytes(PACK[suffix](b"a\nb\n") + b"rubbish that is no stream")
    with pytest.raises(DataError, match="is damaged.*2 rows could be read"):
        list(read_rows(file))


def test_rows_of_a_parquet_file(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["好", None], "label": [1, 2]}), file)
    table = load(file, LABELLED)
    assert table.rows == [{"text": "好", "label": "1"}]
    assert [(bad.line, bad.field) for bad in table.bad] == [(2, "text")]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        load(path, LABELLED)
    return str(error.value)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b"\n \n", "holds no rows"),
        ("a.csv", b"text,label\n", "holds no rows"),
        ("a.jsonl.gz", GOOD, "its name says gzip, its content is not; rename it to a.jsonl"),
        ("a.jsonl", gzip.compress(GOOD), "its content is gzip; rename it to a.jsonl.gz"),
        ("a.jsonl.gz", lzma.compress(GOOD), "its content is xz; rename it to a.jsonl.xz"),
        ("a.parquet", GOOD, "its content is not Parquet"),
        ("a.parquet", b"PAR1 and rubbish", "not a readable Parquet file"),
        ("a.docx", GOOD, "its name must end in one of .jsonl"),
        ("a.csv", b"text;label\na;b\n", "separated by ';'"),
        ("a.csv", b"text,text\na,b\n", "two columns are called 'text'"),
        ("a.csv", b"text,\na,b\n", "column 2 has no name"),
        ("a.json", b"[1, 2]", "a number, not a row"),
        ("a.json", b'[{"text": "a"},\n {"text": ]', r"a.json:2: not JSON: Expecting value at character 11"),
        ("a.jsonl", GOOD.decode().encode("utf-16"), "iconv -f UTF-16 -t UTF-8 a.jsonl"),
        ("a.jsonl", GOOD.decode().encode("utf-16-le"), "UTF-16 at byte offset 1"),
        ("a.csv", "text,label\n很好,正面\n很差,负面\n".encode("gbk"), "2 lines are not UTF-8.*iconv"),
        ("a.csv", "文本,标签\n很好,正面\n".encode("gbk"), "not UTF-8.*in the header"),
        ("a.jsonl", b"x\ny\nz\nw\n", "none of its 4 rows can be used"),
        (
            "a.jsonl",
            b'{"text": "a", "id": 1, "x": 2, "y": 3}\n',
            "no column for label; the columns are 'text', 'id', 'x'",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    text = refusal(file)
    assert text.startswith(str(file))
    assert re.search(message, text, re.DOTALL), text


def test_three_reasons_are_given_where_all_rows_are_bad(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"x\ny\nz\nw\n")
    assert [f"a.jsonl:{n}:" in refusal(file) for n in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_missing_file_suggests_its_sibling(tmp_path):
    (tmp_path / "reviews.csv").touch()
    assert "no such file; did you mean 'reviews.csv'?" in refusal(tmp_path / "review.csv")
    assert "is a folder" in refusal(tmp_path)


# ------------------------------------------------------------------------------------------------------------- CSV
def csv_rows(path: Path, content: str) -> list[Record | Bad]:
    path.write_text(content, encoding="utf-8", newline="")
    return list(read_rows(path))


def test_quoted_fields_hold_commas_quotes_and_line_ends(tmp_path):
    records = csv_rows(tmp_path / "a.csv", 'text,label\r\n"a, ""b""\r\n\r\nc",x\r\nd "e" f,""\r\n')
    assert [record[:2] for record in records] == [
        (2, {"text": 'a, "b"\n\nc', "label": "x"}),
        (5, {"text": 'd "e" f', "label": ""}),
    ]


def test_a_quote_that_never_closes_takes_only_its_own_line(tmp_path):
    records = csv_rows(tmp_path / "a.csv", 'text,label\n"a,x\nb,y\nc,z\n')
    assert [type(record) for record in records] == [Bad, Record, Record]
    assert (records[0].line, records[0].reason) == (2, "a quote is opened and never closed")


def test_a_stray_quote_does_not_swallow_the_rows_up_to_the_next_one(tmp_path):
    records = csv_rows(tmp_path / "a.csv", 'text,label\n"a,x\nb,y\n"c, d",z\n')
    assert [record.line for record in records if isinstance(record, Bad)] == [2]
    assert [record.row["label"] for record in records if isinstance(record, Record)] == ["y", "z"]


@pytest.mark.parametrize("line", ["a", "a,b,c", '"a"b,c'])
def test_a_csv_row_of_another_shape_is_quarantined(tmp_path, line):
    first, second = csv_rows(tmp_path / "a.csv", f"text,label\n{line}\nd,e\n")
    assert isinstance(first, Bad)
    assert second[:2] == (3, {"text": "d", "label": "e"})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.text('ab,"\n 好', min_size=0), min_size=2, max_size=2), min_size=1, max_size=5))
def test_what_the_standard_library_writes_as_csv_is_read_back(tmp_path, rows):
    import csv

    file = tmp_path / "a.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["x", "y"], *rows])
    assert [list(record.row.values()) for record in read_rows(file)] == rows


def test_a_field_may_be_longer_than_the_standard_library_allows(tmp_path):
    (record,) = csv_rows(tmp_path / "a.csv", f'text,label\n"{"a," * 200_000}",x\n')
    assert len(record.row["text"]) == 400_000


def test_tsv_has_no_quoting(tmp_path):
    records = csv_rows(tmp_path / "a.tsv", 'text\tlabel\n"a" b\tx\n\ty\n')
    assert records == [Record(2, {"text": '"a" b', "label": "x"}, 11), Record(3, {"text": "", "label": "y"}, 19)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".csv", ".tsv", ".txt"]))
def test_no_bytes_crash_the_reader(tmp_path, content, suffix):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    try:
        records = list(read_rows(file))
    except DataError:
        return
    assert all(isinstance(record, Record | Bad) for record in records)
