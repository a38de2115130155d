"""CoNLL files: sentences are rows; tags that break the scheme of their file are told at their line."""

import pytest

from lathe.core.data import TAGGED, TOKENS_OR_TEXT, Bad, Record, load, read_rows
from lathe.core.predictions import Span


def read(path, content):
    path.write_text(content, encoding="utf-8")
    return list(read_rows(path))


CONLL_2003 = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
British JJ I-NP B-MISC

Peter NNP I-NP I-PER
"""


def test_four_columns_of_2003_are_read_in_iob1(tmp_path):
    first, second = read(tmp_path / "eng.txt", CONLL_2003)
    assert first.line == 3
    assert first.row["tokens"] == ["EU", "rejects", "German", "British"]
    assert first.row["column2"] == ["NNP", "VBZ", "JJ", "JJ"]
    assert second == Record(
        8, {"tokens": ["Peter"], "tags": ["I-PER"], "column2": ["NNP"], "column3": ["I-NP"]}, CONLL_2003.index("Peter")
    )
    table = load(tmp_path / "eng.txt", TAGGED)
    assert [span.label for span in table.rows[0]["spans"]] == ["ORG", "MISC", "MISC"]
    assert not table.bad


def test_tabs_part_columns_where_there_are_some(tmp_path):
    content = "New York\tB-LOC\r\n\u3000\tO\r\n\r\n北\tB-LOC\r\n京\tI-LOC"
    first, second = read(tmp_path / "a.tsv", content)
    assert first.row == {"tokens": ["New York", "\u3000"], "tags": ["B-LOC", "O"]}
    assert second.row["tokens"] == ["北", "京"]


def test_a_space_of_another_kind_is_a_token(tmp_path):
    (row,) = read(tmp_path / "a.conll", "\u3000 O\n北 S-LOC\n")
    assert row.row["tokens"] == ["\u3000", "北"]


def test_names_of_sentences_are_no_tokens(tmp_path):
    (row,) = read(tmp_path / "a.conll", "# id 12 domain=en\nRome _ _ B-LOC\n# _ _ O\n")
    assert (row.line, row.row["tokens"]) == (2, ["Rome", "#"])


def test_tokens_without_tags_are_rows_to_tag(tmp_path):
    (tmp_path / "a.conll").write_text("in\nRome\n\nhere\n", encoding="utf-8")
    assert [row["text"] for row in load(tmp_path / "a.conll", TOKENS_OR_TEXT).rows] == ["in Rome", "here"]


@pytest.mark.parametrize("tags", ["S-X O B-Y I-Y E-Y", "U-X O B-Y I-Y L-Y", "S-X O B-Y M-Y E-Y"])
def test_schemes_with_ends_are_read(tmp_path, tags):
    file = tmp_path / "a.bioes"
    file.write_text("".join(f"t {tag}\n" for tag in tags.split()), encoding="utf-8")
    table = load(file, TAGGED)
    assert table.rows[0]["spans"] == (Span(0, 1, "X"), Span(4, 9, "Y"))


@pytest.mark.parametrize(
    "good, tags, line, reason, fix",
    [
        ("B-X", "O I-X", 2, "I-X behind O goes on with no entity (the scheme of the file is BIO)", "write B-X"),
        ("B-X", "B-Y I-X", 2, "I-X behind B-Y", "write B-X"),
        ("B-X", "I-X", 1, "I-X behind O", "write B-X"),
        ("S-X", "O E-X", 2, "E-X behind O", "write B-X, or S-X"),
        ("S-X", "B-X O", 2, "the entity X before it is not ended", "end it with E-X"),
        ("S-X", "O B-X", 2, "the entity X before it is not ended", "end it with E-X"),
        ("B-X", "O X-Y", 2, "a tag of no known scheme", "write O"),
        ("B-X", "O LOC", 2, "a tag of no known scheme", "write O"),
    ],
)
def test_a_tag_that_breaks_the_scheme_is_told_at_its_line(tmp_path, good, tags, line, reason, fix):
    bad = "".join(f"t {tag}\n" for tag in tags.split())
    file = tmp_path / "a.conll"
    kept, told, last = read(file, f"a {good}\nb O\n\n{bad}\nc {good}\n")
    assert isinstance(kept, Record) and isinstance(last, Record) and isinstance(told, Bad)
    assert (told.file, told.line, told.field) == (str(file), 3 + line, "tags")
    assert reason in told.reason
    assert fix in told.fix


def test_a_ragged_line_costs_its_sentence_only(tmp_path):
    rows = read(tmp_path / "a.conll", "a O\n\nb\nc B-X\n\nd B-X\n")
    assert [type(row) for row in rows] == [Record, Bad, Record]
    assert (rows[1].line, rows[1].reason) == (3, "1 columns, the others have 2")


def test_a_line_in_another_encoding_costs_its_sentence_only(tmp_path):
    file = tmp_path / "a.conll"
    file.write_bytes(b"a B-X\n\n\xc4\xe3 O\n\nd B-X\n")
    rows = list(read_rows(file))
    assert [type(row) for row in rows] == [Record, Bad, Record]
    assert rows[1].line == 3
    assert "not UTF-8" in rows[1].reason


@pytest.mark.parametrize("text", ["All of us go home\nto New York\n", "one\ntwo\n", "a B\nc D\n", "1 O\n2 O\n", ""])
def test_a_text_is_not_taken_for_tokens(tmp_path, text):
    rows = read(tmp_path / "a.txt", text + "x\n")
    assert all(set(row.row) == {"text"} for row in rows)
