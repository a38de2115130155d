"""A file as a table: what was found is said, and nothing is dropped without a count."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from lathe.core.data import (
    LABELLED,
    TAGGED,
    TEXT,
    Columns,
    check_labels,
    describe,
    keys,
    labels,
    load,
    near_misses,
    warnings,
    write_quarantine,
)
from lathe.core.errors import DataError


@pytest.fixture
def reviews(tmp_path) -> Path:
    file = tmp_path / "reviews.csv"
    file.write_text("id,review,label\n1,good,pos\n2,bad,neg\n3,,neg\n4,fine,Pos \n", encoding="utf-8")
    return file


def test_kept_and_quarantined_rows_are_the_rows_read(reviews):
    table = load(reviews, LABELLED)
    assert (table.lines, [bad.line for bad in table.bad]) == ([2, 3, 5], [4])
    assert table.digest == hashlib.sha256(reviews.read_bytes()).hexdigest()


def test_the_description_shows_columns_labels_unused_columns_and_quarantine(reviews):
    assert describe(load(reviews, LABELLED)) == (
        "reviews.csv: 3 rows; text = 'review', label = 'label' (3 labels: Pos  1, neg 1, pos 1); "
        "unused columns: id; 1 quarantined"
    )


def test_warnings_name_the_first_bad_row_and_labels_that_may_be_one(reviews):
    first, second = warnings(load(reviews, LABELLED))
    assert "1 of 4 rows quarantined" in first
    assert "reviews.csv:4: review: the text is empty" in first
    assert "'Pos ', 'pos'" in second


def test_a_clean_file_has_no_warnings(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_text("text\tlabel\na\tx\nb\ty\n", encoding="utf-8")
    assert warnings(load(file, LABELLED)) == []


def test_quotes_around_tsv_fields_are_pointed_out(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_text('text\tlabel\n"a"\tx\n', encoding="utf-8")
    assert "1 texts in double quotes" in warnings(load(file, LABELLED))[0]


def test_a_column_that_appears_late_is_counted(tmp_path):
    file = tmp_path / "a.jsonl"
    rows = [{"text": "a", "label": "x"}] * 1500 + [{"text": "a", "label": "x", "late": 1}]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert load(file, LABELLED).unused == {"late": 1}


def test_good_rows_behind_many_bad_ones_are_found(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("comment\n" * 1500 + '{"text": "a", "label": "x"}\n', encoding="utf-8")
    table = load(file, LABELLED)
    assert (len(table.rows), len(table.bad)) == (1, 1500)


def test_a_label_unseen_in_training_is_named_with_its_line(reviews):
    table = load(reviews, LABELLED)
    with pytest.raises(DataError, match=r"reviews.csv:5: label 'Pos ' is not one of neg, pos; did you mean 'pos'"):
        check_labels(table, ["neg", "pos"], lambda row: [row["label"]])
    check_labels(table, sorted(labels(table)), lambda row: [row["label"]])


def test_labels_of_spans_are_counted(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"tokens": ["a", "b"], "tags": ["B-X", "B-Y"]}\n', encoding="utf-8")
    assert labels(load(file, TAGGED)) == {"X": 1, "Y": 1}


def test_near_misses_are_grouped():
    assert near_misses(["a b", "A  b ", "c", "ｃ"]) == [["A  b ", "a b"], ["c", "ｃ"]]


def test_the_quarantine_is_one_json_object_a_line(reviews, tmp_path):
    write_quarantine(load(reviews, LABELLED).bad, tmp_path / "q.jsonl")
    (line,) = (tmp_path / "q.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(json.loads(line)) == ["file", "line", "field", "value", "reason", "fix", "offset"]


def test_a_few_lines_in_another_encoding_are_quarantined_many_are_refused(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"a\nb\n" + "é\n".encode("latin-1"))
    assert len(load(file, TEXT).bad) == 1
    file.write_bytes(b"a\n" + "é\nè\n".encode("latin-1"))
    with pytest.raises(DataError, match="2 lines are not UTF-8"):
        load(file, TEXT)


def test_keys_depend_on_content_and_place_alone(reviews, tmp_path):
    copy = tmp_path / "copy.csv"
    copy.write_bytes(reviews.read_bytes())
    first, second = keys(load(reviews, LABELLED)), keys(load(copy, LABELLED, Columns(text="review")))
    assert first.dtype == np.uint64
    assert len(set(first.tolist())) == 3
    np.testing.assert_array_equal(first, second)
