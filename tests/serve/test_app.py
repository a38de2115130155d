"""The HTTP application: the same answers as in Python, and nothing that a client sends makes it fail."""

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from transformers import AutoModel

from lathe.core.errors import DataError
from lathe.core.predictions import Label, Text
from lathe.core.predictor import TaskPredictor, read_rows_like
from lathe.core.types import as_row
from lathe.loader import load
from lathe.runtimes.eager import torch_forward
from lathe.serve.app import build_app
from lathe.serve.limits import About, Limits
from lathe.serve.schema import Answer, Health, Problem
from lathe.tasks import Chat, Embed, Transform

ABOUT = About("demo@1", "classify", ("bad", "good"))
LIMITS = Limits(body_bytes=2000, rows=3, characters=100)
JSON = {"content-type": "application/json"}


def length(rows):
    """A predictor without a model."""
    texts = [as_row(row).get("text", "") for row in rows]
    if "" in texts:
        raise DataError("row 0: the text is empty")
    return [Label("good", {"bad": 0.25, "good": 0.75}) for _ in texts]


@pytest.fixture
def client():
    with TestClient(build_app(length, ABOUT, LIMITS)) as client:
        yield client


def test_answers_are_those_of_the_predictor_in_the_one_json_form(classifier):
    model = load(classifier)
    with TestClient(build_app(model, ABOUT)) as client:
        reply = client.post("/predict", json={"rows": ["good film", {"text": "bad plot"}]})
    assert reply.status_code == 200
    wanted = [one.to_json() for one in model(["good film", "bad plot"])]
    assert reply.json() == {"model": "demo@1", "predictions": wanted}
    Answer.model_validate(reply.json())


def test_rankings_and_vectors_have_a_form(tokenizer, bert_config):
    model = TaskPredictor(Embed(scored=False), tokenizer, torch_forward(AutoModel.from_config(bert_config)))
    rows = ["good film", {"query": "film", "candidates": ["good film", "bad plot"]}, {"text": "a", "text_pair": "film"}]
    with TestClient(build_app(model, ABOUT)) as client:
        reply = client.post("/predict", json={"rows": rows})
    assert [list(one) for one in reply.json()["predictions"]] == [["vector"], ["ranking"], ["value"]]
    Answer.model_validate(reply.json())


def test_a_tagger_answers_texts_and_tokens(tagger):
    model = load(tagger)
    rows = ["in Paris", {"tokens": ["in", "Paris"]}]
    with TestClient(build_app(model, ABOUT)) as client:
        reply = client.post("/predict", json={"rows": rows})
    assert reply.json()["predictions"] == [model([row])[0].to_json() for row in rows]
    Answer.model_validate(reply.json())


@pytest.mark.parametrize("task", [Transform(), Chat()], ids=lambda task: task.kind)
def test_a_model_that_writes_answers_texts_and_conversations(task):
    about = About("demo@1", task.kind, (), task.unlabelled)
    rows = ["hi", {"text": "hi"}]
    if task.kind == "chat":
        rows.append({"messages": [{"role": "user", "content": "hi"}]})

    def echo(rows):
        return [Text(str([*read_rows_like([row], task.unlabelled)])) for row in rows]

    with TestClient(build_app(echo, about)) as client:
        reply = client.post("/predict", json={"rows": rows})
        refused = client.post("/predict", json={"rows": [{"tokens": ["hi"]}]})
        long = client.post("/predict", json={"rows": [{"messages": [{"role": "user", "content": "x" * 10**5}]}]})
    Answer.model_validate(reply.json())
    assert len({one["text"] for one in reply.json()["predictions"]}) == 1
    assert refused.status_code == 422
    assert long.status_code in (413, 422)


def test_health_names_the_model_and_its_labels(client):
    found = Health.model_validate(client.get("/health").json())
    assert found == Health(status="ok", model="demo@1", task="classify", labels=["bad", "good"])


def test_the_schema_is_typed_and_served_without_pages_that_fetch_scripts(client):
    schema = client.get("/openapi.json").json()
    question = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert question == {"$ref": "#/components/schemas/Question"}
    assert {"Question", "Answer", "Problem", "LabelAnswer", "SpansAnswer"} <= schema["components"]["schemas"].keys()
    assert client.get("/docs").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[" * 1500, 400),
        (b'{"rows": ' + b"[" * 400 + b"]" * 400 + b"}", 422),
        (b'{"rows": NaN}', 422),
        (b'{"rows": [NaN]}', 422),
        (b'{"rows": [' + b"9" * 1500 + b"]}", 422),
        (b'{"rows": [1e999]}', 422),
        (b'{"rows": ["\\ud800"]}', 422),
        (b'{"\\ud800": 1}', 422),
        (b'{"rows": ["a"], "\\ud800": 1}', 422),
        (b'{"rows": [{"text": "a", "\\ud800": 1}]}', 422),
        (b'{"rows": "a"}', 422),
        (b'{"rows": []}', 422),
        (b'{"rows": [null]}', 422),
        (b'{"rows": [5]}', 422),
        (b'{"rows": [{}]}', 422),
        (b'{"rows": [{"text": 5}]}', 422),
        (b'{"rows": [{"text": "a", "lang": "de"}]}', 422),
        (b'{"rows": [{"tokens": []}]}', 422),
        (b'{"rows": ["a"], "model": "x"}', 422),
        (b'{"texts": ["a"]}', 422),
        (b'["a"]', 422),
        (b"null", 422),
        (b"\xff\xfe", 400),
        (b'{"rows": [""]}', 422),
        (b'{"rows": ["a", "b", "c", "d"]}', 413),
        (b'{"rows": ["' + b"a" * 101 + b'"]}', 413),
        (b'{"rows": [{"tokens": ["' + b"a" * 60 + b'", "' + b"a" * 60 + b'"]}]}', 413),
        (b'{"rows": ["' + b"a" * 3000 + b'"]}', 413),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value,
)
def test_what_is_no_question_is_refused_with_a_reason(client, body, status):
    reply = client.post("/predict", content=body, headers=JSON)
    assert 400 <= reply.status_code < 500
    assert reply.status_code in (status, 422)
    assert Problem.model_validate(reply.json()).error


@pytest.mark.parametrize("body", [b"[" * 3_000_000, b'{"rows": [' + b"9" * 100_000 + b"]}", b'{"a":' * 500_000])
def test_deep_or_endless_values_within_the_limit_of_bytes_are_refused(body):
    with TestClient(build_app(length, ABOUT)) as client:
        reply = client.post("/predict", content=body, headers=JSON)
    assert reply.status_code in (400, 422)
    assert Problem.model_validate(reply.json()).error


def test_a_body_without_an_announced_length_is_cut_off_too(client):
    reply = client.post("/predict", content=(b" " * 500 for _ in range(10)), headers=JSON)
    assert reply.status_code == 413
    assert "2,000 bytes" in reply.json()["error"]


def test_the_wrong_media_type_is_named(client):
    reply = client.post("/predict", content=b'{"rows": ["a"]}', headers={"content-type": "text/plain"})
    assert reply.status_code == 415
    assert "application/json" in reply.json()["error"]


def test_unknown_paths_and_methods_are_json_problems(client):
    assert Problem.model_validate(client.get("/nothing").json())
    assert client.get("/predict").status_code == 405


def test_an_error_of_ours_says_its_place_and_no_text(capsys):
    def broken(rows):
        raise TypeError(f"cannot read {rows}")

    with TestClient(build_app(broken, ABOUT), raise_server_exceptions=False) as client:
        reply = client.post("/predict", json={"rows": ["my secret"]})
    assert reply.status_code == 500
    said = capsys.readouterr()
    assert "TypeError at" in said.err
    assert "secret" not in said.out + said.err + reply.text


def test_the_model_runs_one_call_at_a_time_and_beside_the_event_loop():
    running, most, threads = 0, 0, set()

    def slow(rows):
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.add(threading.current_thread())
        time.sleep(0.05)
        running -= 1
        return length(rows)

    with TestClient(build_app(slow, ABOUT)) as client:
        calls = [
            threading.Thread(target=client.post, args=("/predict",), kwargs={"json": {"rows": ["a"]}}) for _ in range(4)
        ]
        for call in calls:
            call.start()
        started_s = time.perf_counter()
        assert client.get("/health").status_code == 200
        assert time.perf_counter() - started_s < 0.15  # does not wait for the four
        for call in calls:
            call.join()
    assert most == 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["rows", "text", "tokens", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | JUNK)
def test_no_body_at_all_makes_it_fail(client, body):
    import json

    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = client.post("/predict", content=content, headers=JSON)
    assert reply.status_code < 500
    (Answer if reply.status_code == 200 else Problem).model_validate(reply.json())
