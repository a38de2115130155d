"""A store keeps each record once, gives it back as it was, and deletes it for good."""

import json
import multiprocessing
import sqlite3
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lathe.feedback.store import VERSION, Record, Store, StoreError

SAID = Record(
    "a", "classify", "m@1", {"text": "很好 👍"}, {"label": "bad"}, {"label": "good"}, -1, "不对", "r1", "ann", 5.0
)
JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(1 << 60), 1 << 60)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def store(tmp_path):
    found = Store(str(tmp_path / "feedback.db"))
    yield found
    found.close()


def test_a_record_comes_back_as_it_was(store):
    assert store.add([SAID]) == ["stored"]
    assert store.page() == [replace(SAID, number=1)]


@settings(max_examples=40, deadline=None)
@given(row=some.dictionaries(some.text(), JSON, max_size=3), note=some.none() | some.text())
def test_any_json_comes_back_as_it_was(row, note):
    store = Store("sqlite://")  # in memory
    said = replace(SAID, row=row, note=note)
    assert store.add([said]) == ["stored"]
    assert json.dumps(store.page()[0].row, sort_keys=True) == json.dumps(row, sort_keys=True)
    assert store.page()[0].note == note


def test_what_is_sent_again_is_kept_once_and_another_of_its_id_refused(store):
    later = replace(SAID, at_s=9.0, by="ann")
    assert store.add([SAID, later, replace(SAID, note="x")]) == ["stored", "same", "other"]
    assert store.add([later, replace(SAID, id="b")]) == ["same", "stored"]
    assert [(one.id, one.at_s) for one in store.page()] == [("a", 5.0), ("b", 5.0)]


def test_pages_miss_nothing_and_numbers_are_never_given_twice(store):
    store.add([replace(SAID, id=str(number)) for number in range(25)])
    seen, after = [], 0
    while page := store.page(after=after, limit=10):
        seen += page
        after = page[-1].number
    assert [one.id for one in seen] == [str(number) for number in range(25)]
    assert store.delete("24")
    store.add([replace(SAID, id="new")])
    assert [one.id for one in store.page(after=after)] == ["new"]


def test_pages_and_counts_are_told_by_task_and_model(store):
    store.add([SAID, replace(SAID, id="b", task="tag"), replace(SAID, id="c", model="m@2", rating=1)])
    store.add([replace(SAID, id="d", model="m_@1")])
    assert [one.id for one in store.page(task="classify", model="m")] == ["a", "c"]
    assert [one.id for one in store.page(model="m@1")] == ["a", "b"]
    assert {"task": "classify", "model": "m@2", "rating": 1, "records": 1} in store.summary()


def test_what_is_deleted_stands_nowhere_in_the_files(store, tmp_path):
    secret = replace(SAID, id="s", note="a-secret-that-nobody-kept")
    store.add([SAID, secret])
    assert store.delete("s")
    assert not store.delete("s")
    assert not any(b"nobody-kept" in file.read_bytes() for file in tmp_path.iterdir())


def test_what_is_old_is_deleted_with_the_figures_of_its_time(store):
    day = 86_400.0
    store.add([replace(SAID, id=str(number), at_s=number * day) for number in range(10)])
    names = {"id": "r", "route": "/", "model": "", "status": 200, "ms": 1.0, "rows": 1, "tokens": 2, "by": ""}
    store.note([names | {"at_s": number * day} for number in range(10)])
    assert store.purge(keep_days=3, now_s=10 * day) == 7
    assert [one.id for one in store.page()] == ["7", "8", "9"]
    assert len(store.requests()) == 3


def test_a_full_store_takes_no_more_until_something_is_deleted(tmp_path):
    store = Store(str(tmp_path / "f.db"), most_bytes=1 << 16)
    large = replace(SAID, note="x" * 20_000)
    told = [store.add([replace(large, id=str(number))])[0] for number in range(8)]
    assert told[0] == "stored"
    assert told[-1] == "full"
    assert store.add([replace(large, id="0")]) == ["same"]
    for number in range(4):
        store.delete(str(number))
    assert store.add([replace(large, id="new")]) == ["stored"]
    store.close()


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    place = tmp_path / "f.db"
    Store(str(place)).close()
    with sqlite3.connect(place) as link:
        link.execute("UPDATE about SET version = ?", [VERSION + 1])
    link.close()
    with pytest.raises(StoreError, match="newer Lathe"):
        Store(str(place))


@pytest.mark.parametrize("content", [b"no database " * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_store_is_refused_and_left_as_it_was(tmp_path, content):
    place = tmp_path / "f.db"
    place.write_bytes(content)
    with pytest.raises(StoreError):
        Store(str(place))
    assert place.read_bytes() == content


def test_an_address_with_a_password_is_told_to_nobody():
    with pytest.raises(StoreError) as refused:
        Store("nothing+here://ann:topsecret@localhost/x")
    assert "topsecret" not in str(refused.value)


def write_some(place, name):
    store = Store(place)
    for number in range(40):
        store.add([replace(SAID, id=f"{name}-{number}"), replace(SAID, id=f"both-{number}")])
    store.close()


def test_two_processes_write_to_one_store(tmp_path):
    place = str(tmp_path / "f.db")
    Store(place).close()
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=write_some, args=(place, name)) for name in "ab"]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    store = Store(place)
    names = sorted(one.id for one in store.page(limit=1000))
    assert names == sorted([f"{name}-{number}" for name in ("a", "b", "both") for number in range(40)])
    store.close()


def test_a_store_whose_file_is_locked_says_so_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr("lathe.feedback.store.BUSY_S", 0.1)
    impatient = Store(str(tmp_path / "f.db"))
    other = sqlite3.connect(tmp_path / "f.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    since_s = time.monotonic()
    with pytest.raises(StoreError, match="SQLITE_BUSY"):
        impatient.add([SAID])
    assert time.monotonic() - since_s < 5
    other.close()
    assert impatient.add([SAID]) == ["stored"]
    impatient.close()
