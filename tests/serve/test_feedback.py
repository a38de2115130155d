"""What people say of answers: kept once, checked as the task reads rows, given back as rows to learn from."""

import json
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace

import pytest

from lathe.cli import main
from lathe.core.data import Columns, find_columns, read_row
from lathe.feedback.store import Store, StoreError
from lathe.serve.keeper import Keeper
from lathe.serve.keeping import Keeping
from lathe.serve.keys import Keys

from .conftest import EXAMPLES, until

PLACE = "/v1/feedback"
SPAN = {"start": 0, "end": 4}
CORRECTIONS = {
    "classify": ({"text": "good film"}, {"label": "good"}),
    "pairs": ({"text": "good film", "text_pair": "bad plot"}, {"label": "neutral"}),
    "multilabel": ({"text": "good film"}, {"labels": ["a", "c"]}),
    "score": ({"text": "good film", "text_pair": "bad plot"}, {"score": 2.5}),
    "choose": ({"text": "good", "question": "is it", "choices": ["film", "plot"]}, {"label": 1}),
    "tag": ({"text": "film in Paris"}, {"spans": [{"start": 8, "end": 13, "label": "LOC"}]}),
    "intent": ({"text": "film in Paris"}, {"intent": "find", "spans": [{"start": 8, "end": 13, "label": "LOC"}]}),
    "answer": (
        {"context": "a great film in Paris", "question": "where"},
        {"answers": [{"text": "Paris", "start": 16}]},
    ),
    "transform": ({"text": "good film"}, {"target": "guter Film"}),
}


@contextmanager
def keeping(serving, tmp_path, *names, keys=None, **options):
    keeper = Keeper(Keeping(store=str(tmp_path / "feedback.db"), **options))
    with serving(*names, keeper=keeper, keys=keys) as client:
        yield client


def said(**other):
    return {"model": "classify", "task": "classify", "row": {"text": "good film"}, "rating": -1} | other


def test_what_is_sent_again_is_kept_once(serving, tmp_path):
    with keeping(serving, tmp_path, "classify") as client:
        first = client.post(PLACE, json=said(id="x", correction={"label": "good"}))
        again = client.post(PLACE, json=said(id="x", correction={"label": "good"}))
        other = client.post(PLACE, json=said(id="x", correction={"label": "bad"}))
        unnamed = client.post(PLACE, json=said(note="so so"))
        page = client.get(PLACE).json()
        counts = client.get(f"{PLACE}/summary").json()["counts"]
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert first.json() == again.json() == {"id": "x", "stored": True}
    assert [one["id"] for one in page["records"]] == ["x", unnamed.json()["id"]]
    assert page["records"][0]["model"].startswith("classify@")
    assert counts[0]["records"] == 2


def test_a_record_is_deleted_by_its_id(serving, tmp_path):
    with keeping(serving, tmp_path, "classify") as client:
        client.post(PLACE, json=said(id="x"))
        assert client.delete(f"{PLACE}/x").status_code == 200
        assert client.delete(f"{PLACE}/x").status_code == 404
        assert client.get(PLACE).json() == {"records": [], "next": None}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_corrections_are_rows_that_the_task_learns_from(serving, tmp_path, name, capsys):
    row, correction = CORRECTIONS[name]
    task = EXAMPLES[name].task
    with keeping(serving, tmp_path, name) as client:
        answer = client.post(PLACE, json=said(model=name, task=task.kind, row=row, correction=correction))
        assert answer.status_code == 200, answer.text
    out = tmp_path / "rows.jsonl"
    assert main(["feedback", str(tmp_path / "feedback.db"), "-o", str(out)]) == 0, capsys.readouterr().err
    [line] = map(json.loads, out.read_text("utf-8").splitlines())
    assert line == row | correction
    shape, columns = find_columns([*line], task.labelled, Columns())
    read_row(line, shape, columns)


@pytest.mark.parametrize(
    ("wrong", "status", "why"),
    [
        ({"rating": None}, 422, "a rating"),
        ({"rating": 2}, 422, "rating"),
        ({"id": "a b"}, 422, "id"),
        ({"id": "x" * 65}, 422, "id"),
        ({"model": "nobody"}, 404, "no model"),
        ({"model": "../x"}, 422, "model"),
        ({"task": "tag"}, 422, "classify"),
        ({"row": {"texts": "x"}}, 422, "no row"),
        ({"row": "good film"}, 422, "row"),
        ({"row": {"text": "a\ud800"}}, 422, "surrogate"),
        ({"row": {"text": "a\0"}}, 422, "NUL"),
        ({"note": "x" * 60_000}, 413, "characters"),
        ({"correction": {"label": "maybe"}}, 422, "bad, good"),
        ({"correction": {"text": "other"}}, 422, "changes text"),
        ({"correction": {"label": "good", "spans": []}}, 422, "no use"),
        ({"prediction": json.loads("[" * 60 + "]" * 60)}, 422, "inside each other"),
        ({"unknown": 1}, 422, "unknown"),
    ],
)
def test_what_is_no_feedback_is_refused_with_the_reason(serving, tmp_path, wrong, status, why):
    with keeping(serving, tmp_path, "classify") as client:
        answer = client.post(PLACE, content=json.dumps(said(**wrong)), headers={"Content-Type": "application/json"})
        assert client.get(PLACE).json()["records"] == []
    assert answer.status_code == status
    assert why in answer.json()["error"]


def test_a_server_without_a_store_says_how_to_have_one(serving):
    with serving("classify") as client:
        answers = [client.post(PLACE, json=said()), client.get(PLACE), client.delete(f"{PLACE}/x")]
        assert client.get("/v1/about").json()["feedback"] is False
    assert {one.status_code for one in answers} == {404}
    assert all("feedback.store=FILE" in one.json()["error"] for one in answers)


def test_records_bear_the_name_of_their_key_and_are_shown_to_keys_alone(serving, tmp_path):
    with keeping(serving, tmp_path, "classify", keys=Keys({"ann": "k" * 16})) as client:
        own = {"Authorization": f"Bearer {'k' * 16}"}
        assert client.post(PLACE, json=said()).status_code == 401
        assert client.get(PLACE, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post(PLACE, json=said(), headers=own).status_code == 200
        assert client.get(PLACE, headers=own).json()["records"][0]["by"] == "ann"


def test_personal_data_is_taken_out_before_anything_is_kept(serving, tmp_path):
    row = {"text": "写信给 ann@example.org, film in Paris"}
    place = row["text"].index("Paris")
    correction = {"spans": [{"start": place, "end": place + 5, "label": "LOC"}]}
    with keeping(serving, tmp_path, "tag", redact=True) as client:
        asked = said(model="tag", task="tag", row=row, correction=correction, note="电话13812345678")
        assert client.post(PLACE, json=asked).status_code == 200
        [kept] = client.get(PLACE).json()["records"]
        inside = {"spans": [{"start": 6, "end": 12, "label": "LOC"}]}
        assert client.post(PLACE, json=asked | {"correction": inside}).status_code == 422
    span = kept["correction"]["spans"][0]
    assert kept["row"]["text"][span["start"] : span["end"]] == "Paris"
    assert kept["note"] == "电话[PHONE]"
    assert not any(b"ann@example" in file.read_bytes() for file in tmp_path.iterdir())


def test_of_requests_the_figures_are_kept_and_no_text(serving, tmp_path):
    with keeping(serving, tmp_path, "classify", statistics=True) as client:
        client.post("/v1/classify", json={"rows": ["a secret film"]}, headers={"X-Request-Id": "r1"})
        client.get("/health")
    store = Store(str(tmp_path / "feedback.db"))
    [line] = store.requests()
    store.close()
    assert (line["id"], line["route"], line["status"], line["rows"]) == ("r1", "/v1/classify", 200, 1)
    assert not any(b"secret" in file.read_bytes() for file in tmp_path.iterdir())


def test_a_store_that_cannot_be_written_is_503_and_nothing_is_half_kept(serving, tmp_path, monkeypatch):
    with keeping(serving, tmp_path, "classify", statistics=True) as client:
        with monkeypatch.context() as broken:
            for name in ("add", "note"):
                broken.setattr(Store, name, lambda *_: (_ for _ in ()).throw(StoreError("the disk is full")))
            answer = client.post(PLACE, json=said())
            assert client.post("/v1/classify", json={"rows": ["good"]}).status_code == 200
            until(lambda: client.app.keeper.dropped >= 1)
        assert answer.status_code == 503
        assert client.post(PLACE, json=said()).status_code == 200
        assert len(client.get(PLACE).json()["records"]) == 1


def test_a_client_that_does_not_wait_is_told_to_send_it_again(serving, tmp_path, monkeypatch):
    monkeypatch.setattr(Keeper, "add", lambda *_: Future())
    with keeping(serving, tmp_path, "classify") as client:
        answer = client.post(PLACE, json=said(), headers={"X-Request-Timeout": "0.05"})
    assert answer.status_code == 503
    assert "same id" in answer.json()["error"]


def test_the_newest_correction_wins_and_differences_are_counted(tmp_path, capsys):
    from lathe.feedback.store import Record

    place, first = str(tmp_path / "f.db"), Record("a", "classify", "m@1", {"text": "x"}, None, {"label": "good"})
    store = Store(place)
    store.add([first, replace(first, id="b", correction={"label": "bad"}), replace(first, id="c", row={"text": "y"})])
    store.close()
    out = tmp_path / "rows.jsonl"
    assert main(["feedback", place, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"text": "x", "label": "bad"},
        {"text": "y", "label": "good"},
    ]
    assert (told["rows"], told["conflicts"], told["repeated"]) == (2, 1, 1)
    sources = (tmp_path / "rows.sources.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in sources] == ["b", "c"]
    assert main(["feedback", place, "delete=b"]) == 0
    assert main(["feedback", place, "delete=b"]) == 2
    assert main(["feedback", str(tmp_path / "none.db")]) == 2
