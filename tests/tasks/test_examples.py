"""Parting training rows from validation rows, and telling where the parts of a data set overlap."""

import json

import numpy as np
import pytest

from lathe.core.data import Columns
from lathe.core.errors import DataError
from lathe.core.keyed import row_keys
from lathe.core.predictions import Span
from lathe.tasks import Classify, Tag
from lathe.tasks.examples import Examples, hold_out, read_tables


def examples(rows):
    return Examples(rows, [{"input_ids": [1, 2]} for _ in rows], row_keys("file", len(rows)))


def labelled(*counts):
    return [{"text": f"text {label} {n}", "label": label} for label, count in counts for n in range(count)]


def test_each_label_has_its_share_in_both_parts(capsys):
    rows = labelled(("common", 200), ("rare", 20), ("two", 2), ("one", 1))
    rest, held = hold_out(examples(rows), Classify(), 0.1)
    found = {label: sum(row["label"] == label for row in held.rows) for label in ("common", "rare", "two", "one")}
    assert found == {"common": 20, "rare": 2, "two": 1, "one": 0}
    assert len(rest.rows) + len(held.rows) == len(rows)
    assert "23 of 223 training rows are held out" in capsys.readouterr().err


def test_rows_of_one_text_are_never_parted_even_where_case_or_spaces_differ():
    texts = [text for n in range(40) for text in (f"Text {n}", f"text  {n}", f"ＴＥＸＴ {n}")]
    rest, held = hold_out(
        examples([{"text": text, "label": "ab"[n % 2]} for n, text in enumerate(texts)]), Classify(), 0.3
    )
    numbers = [{row["text"].split()[1] for row in part.rows} for part in (rest, held)]
    assert all(numbers)
    assert not numbers[0] & numbers[1]


def test_rows_with_several_labels_are_held_out_by_chance_and_the_same_each_time():
    spans = [(Span(0, 4, "X"), Span(5, 6, "Y")), ()]
    rows = [{"text": f"text {n}", "spans": spans[n % 2]} for n in range(400)]
    held = [hold_out(examples(rows), Tag(), 0.2)[1].rows for _ in range(2)]
    assert held[0] == held[1]
    assert 50 < len(held[0]) < 110


def test_the_rows_held_out_keep_their_own_keys():
    whole = examples(labelled(("a", 30), ("b", 30)))
    rest, held = hold_out(whole, Classify(), 0.5)
    assert np.array_equal(np.sort(np.concatenate([rest.keys, held.keys])), np.sort(whole.keys))


@pytest.mark.parametrize("rows", [labelled(("a", 1)), labelled(("a", 1), ("b", 1)), labelled(("a", 1)) * 9])
def test_rows_that_cannot_be_parted_are_refused(rows):
    with pytest.raises(DataError, match=r"cannot be parted at 10%; give data\.validation"):
        hold_out(examples(rows), Classify(), 0.1)


def test_rows_that_stand_in_training_and_test_file_are_told_with_an_example(tmp_path, capsys):
    files = {}
    for name, texts in (("train", ["a", "b", "c"]), ("validation", ["d"]), ("test", ["x", "B", "c "])):
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_text("".join(json.dumps({"text": text, "label": "l"}) + "\n" for text in texts), "utf-8")
    read_tables(files, Classify(), Columns())
    told = capsys.readouterr().err
    assert "test.jsonl: 2 of 3 rows ask what a row of train.jsonl asks, such as line 2 what line 2 asks there" in told
    assert "validation.jsonl: 1 of" not in told
