"""The HTTP application: the same answers whatever it is sent, and nothing that a client sends makes it fail."""

import asyncio
import json
import threading
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from lathe.core.data import PAIR, TEXT, TOKENS_OR_TEXT
from lathe.core.errors import DataError
from lathe.core.predictions import Label
from lathe.serve.app import build_app
from lathe.serve.keys import Keys
from lathe.serve.limits import Limits
from lathe.serve.schema import ProblemAnswer, answer_of
from lathe.serve.served import Models, Served

from .conftest import until

LIMITS = Limits(body_bytes=2000, rows=3, characters=100)
JSON = {"content-type": "application/json"}
ROUTE = "/v1/classify"
Answer = answer_of("classify")


class Length:
    """A predictor without a model."""

    task = SimpleNamespace(kind="classify", labels=("bad", "good"), unlabelled=(*TOKENS_OR_TEXT, *PAIR, *TEXT))

    def encode(self, rows):
        texts = [" ".join(map(str, row.values())) for row in rows]
        if "" in texts:
            raise DataError("row 0: the text is empty")
        return texts

    def sizes(self, encoded):
        return [len(text) for text in encoded]

    def predict(self, encoded):
        return [Label("good", {"bad": 0.25, "good": 0.75}) for _ in encoded]


def application(predictor=None, limits=LIMITS, **options):
    models = Models([Served("demo", "1", predictor or Length())])
    return build_app(models, limits, **({"writes_log": False} | options))


def client_of(*arguments, **options):
    return TestClient(application(*arguments, **options), "http://localhost", raise_server_exceptions=False)


@pytest.fixture
def client():
    with client_of() as client:
        yield client


def test_the_schema_is_typed_and_served_without_pages_that_fetch_scripts(client):
    schema = client.get("/openapi.json").json()
    question = schema["paths"][ROUTE]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert question == {"$ref": "#/components/schemas/ClassifyQuestion"}
    assert {"ClassifyQuestion", "ClassifyAnswer", "ProblemAnswer", "TaggedAnswer"} <= schema["components"][
        "schemas"
    ].keys()
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
        (b'{"rows": ["a"], "model": "x"}', 404),
        (b'{"texts": ["a"]}', 422),
        (b'["a"]', 422),
        (b"null", 422),
        (b"\xff\xfe", 400),
        (b'{"rows": [""]}', 422),
        (b'{"rows": ["a", "b", "c", "d"]}', 413),
        (b'{"rows": ["' + b"a" * 101 + b'"]}', 413),
        (b'{"rows": [{"text": "' + b"a" * 60 + b'", "text_pair": "' + b"a" * 60 + b'"}]}', 413),
        (b'{"rows": ["' + b"a" * 3000 + b'"]}', 413),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value,
)
def test_what_is_no_question_is_refused_with_a_reason(client, body, status):
    reply = client.post(ROUTE, content=body, headers=JSON)
    assert 400 <= reply.status_code < 500
    assert reply.status_code in (status, 422)
    assert ProblemAnswer.model_validate(reply.json()).error


@pytest.mark.parametrize("body", [b"[" * 3_000_000, b'{"rows": [' + b"9" * 100_000 + b"]}", b'{"a":' * 500_000])
def test_deep_or_endless_values_within_the_limit_of_bytes_are_refused(body):
    with client_of(limits=Limits()) as client:
        reply = client.post(ROUTE, content=body, headers=JSON)
    assert reply.status_code in (400, 422)
    assert ProblemAnswer.model_validate(reply.json()).error


def test_a_body_without_an_announced_length_is_cut_off_too(client):
    reply = client.post(ROUTE, content=(b" " * 500 for _ in range(10)), headers=JSON)
    assert reply.status_code == 413
    assert "2,000 bytes" in reply.json()["error"]


def test_the_wrong_media_type_is_named(client):
    reply = client.post(ROUTE, content=b'{"rows": ["a"]}', headers={"content-type": "text/plain"})
    assert reply.status_code == 415
    assert "application/json" in reply.json()["error"]


def test_unknown_paths_and_methods_are_json_problems(client):
    assert ProblemAnswer.model_validate(client.get("/nothing").json())
    assert client.get(ROUTE).status_code == 405


def test_an_error_of_ours_says_its_place_and_no_text(capsys):
    class Broken(Length):
        def predict(self, encoded):
            raise TypeError(f"cannot read {encoded}")

    with client_of(Broken()) as client:
        reply = client.post(ROUTE, json={"rows": ["my secret"]})
    assert reply.status_code == 500
    assert reply.headers["x-request-id"]
    said = capsys.readouterr()
    assert "TypeError at" in said.err
    assert "secret" not in said.out + said.err + reply.text


class Slow(Length):
    """It runs when it is let."""

    def __init__(self):
        self.lets, self.batches = threading.Event(), []

    def predict(self, encoded):
        self.lets.wait(10)
        self.batches.append(list(encoded))
        return super().predict(encoded)


def ask_in_threads(client, texts, **options):
    """The answers to come, in a list, and the threads that wait for them."""
    replies = []

    def ask(text):
        replies.append(client.post(ROUTE, json={"rows": [text]}, **options))

    calls = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for call in calls:
        call.start()
    return replies, calls


def waiting(client):
    lines = client.get("/metrics").text.splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("lathe_waiting_tokens{")))


def test_requests_that_wait_are_answered_together_and_the_loop_goes_on():
    model = Slow()
    with client_of(model) as client:
        replies, calls = ask_in_threads(client, ["first"])
        until(lambda: "in_flight 2" in client.get("/metrics").text and waiting(client) == 0)
        others, more = ask_in_threads(client, ["ab", "abc", "abcd"])
        until(lambda: waiting(client) == 9)
        model.lets.set()
        for call in (*calls, *more):
            call.join()
    assert [reply.status_code for reply in (*replies, *others)] == [200] * 4
    assert [sorted(batch) for batch in model.batches] == [["first"], ["ab", "abc", "abcd"]]


def test_a_full_queue_answers_429_at_once_and_says_when_to_come_back():
    model = Slow()
    with client_of(model, LIMITS.__class__(waiting_tokens=5)) as client:
        replies, calls = ask_in_threads(client, ["first"])
        until(lambda: "in_flight 2" in client.get("/metrics").text and waiting(client) == 0)
        _, more = ask_in_threads(client, ["abcd"])
        until(lambda: waiting(client) == 4)
        refused = client.post(ROUTE, json={"rows": ["abcd"]})
        model.lets.set()
        for call in (*calls, *more):
            call.join()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error_type"] == "overloaded"


def test_too_many_requests_at_a_time_are_refused_before_they_are_read():
    model = Slow()
    app = application(model, Limits(requests=1))
    with TestClient(app, "http://localhost") as client:
        _, calls = ask_in_threads(client, ["first"])
        until(lambda: app.meters.in_flight == 1)
        assert client.post(ROUTE, content=b"nonsense", headers=JSON).status_code == 429
        assert client.get("/health").status_code == 200
        model.lets.set()
        calls[0].join()


def test_a_request_waits_no_longer_than_it_wants_to():
    model = Slow()
    with client_of(model) as client:
        reply = client.post(ROUTE, json={"rows": ["a"]}, headers={"x-request-timeout": "0.05"})
        assert reply.status_code == 503
        assert "time" in reply.json()["error"]
        model.lets.set()


def test_rows_of_a_client_that_left_are_not_answered():
    model = Slow()
    app = application(model)

    async def visit():
        body = json.dumps({"rows": ["left"]}).encode()
        messages = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": ROUTE, "raw_path": b"", "query_string": b""}
        scope |= {"headers": headers, "scheme": "http", "server": ("localhost", 80), "http_version": "1.1"}

        async def receive():
            return messages.pop(0)

        async def send(message):
            pass

        await app(scope, receive, send)

    with TestClient(app, "http://localhost") as client:
        _, calls = ask_in_threads(client, ["first"])
        until(lambda: "in_flight 2" in client.get("/metrics").text and waiting(client) == 0)
        asyncio.run(visit())
        model.lets.set()
        calls[0].join()
        client.post(ROUTE, json={"rows": ["last"]})
    assert model.batches == [["first"], ["last"]]


@pytest.mark.parametrize("route", [ROUTE, f"{ROUTE}/bulk"])
def test_a_client_that_leaves_before_its_body_has_come_is_no_fault_of_ours(capsys, route):
    app, sent = application(writes_log=True), []
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/x-ndjson" if "bulk" in route else b"application/json"),
    ]
    scope = {"type": "http", "method": "POST", "path": route, "raw_path": b"", "query_string": b"", "headers": headers}
    messages = [{"type": "http.request", "body": b'{"rows"', "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope | {"scheme": "http", "server": ("localhost", 80), "http_version": "1.1"}, receive, send))
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["status"] == sent[0]["status"] < 500


def test_a_client_that_leaves_before_a_bulk_is_answered_is_no_fault_of_ours(capsys):
    app, sent = application(writes_log=True), []
    headers = [(b"host", b"localhost"), (b"content-type", b"application/x-ndjson")]
    scope = {"type": "http", "method": "POST", "path": f"{ROUTE}/bulk", "raw_path": b"", "query_string": b""}
    scope |= {"headers": headers, "scheme": "http", "server": ("localhost", 80), "http_version": "1.1"}
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b'"a"', "more_body": False}]

    async def receive():
        return messages.pop()

    async def send(message):
        await asyncio.sleep(0)
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["status"] != 500


def test_a_key_is_asked_for_everywhere_but_for_life():
    keys = Keys({"ann": "a" * 20, "bob": "b" * 20})
    with client_of(keys=keys) as client:
        for path, method in [(ROUTE, "POST"), ("/metrics", "GET"), ("/openapi.json", "GET"), ("/nothing", "GET")]:
            assert client.request(method, path).status_code == 401
            assert client.request(method, path, headers={"authorization": "Bearer " + "c" * 20}).status_code == 401
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        for headers in ({"authorization": "Bearer " + "b" * 20}, {"x-api-key": "a" * 20}):
            assert client.post(ROUTE, json={"rows": ["a"]}, headers=headers).status_code == 200


def test_a_key_has_so_many_rows_a_minute():
    limits = Limits(key_rows_per_minute=4)
    with client_of(limits=limits, keys=Keys({"ann": "a" * 20, "bob": "b" * 20})) as client:
        ann, bob = ({"authorization": f"Bearer {letter * 20}"} for letter in "ab")
        assert client.post(ROUTE, json={"rows": ["a"] * 3}, headers=ann).status_code == 200
        refused = client.post(ROUTE, json={"rows": ["a"] * 3}, headers=ann)
        assert client.post(ROUTE, json={"rows": ["a"] * 3}, headers=bob).status_code == 200
    assert refused.status_code == 429
    assert 25 < int(refused.headers["retry-after"]) <= 31


STRANGE = [("host", "evil.example"), ("host", "evil.example:8000"), ("host", "[")]
STRANGE += [("origin", "https://evil.example"), ("origin", "null")]


@pytest.mark.parametrize("header", STRANGE, ids="=".join)
def test_a_page_of_elsewhere_cannot_ask(client, header):
    assert client.post(ROUTE, json={"rows": ["a"]}, headers=dict([header])).status_code == 421


def test_a_server_answers_to_its_own_names():
    with client_of(hosts=frozenset({"models.example"})) as client:
        for host in ("models.example", "MODELS.example:80", "127.0.0.1:8000", "[::1]:1"):
            assert client.get("/health", headers={"host": host}).status_code == 200


def test_every_answer_bears_an_id_and_forbids_scripts(client):
    for reply in (client.get("/health"), client.get("/nothing"), client.post(ROUTE, json={"rows": ["a"]})):
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert len(reply.headers["x-request-id"]) == 32
    assert client.get("/health", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/health", headers={"x-request-id": 'a"b'}).headers["x-request-id"] != 'a"b'


def test_each_request_is_a_line_of_the_log_without_its_texts(capsys):
    with client_of(writes_log=True) as client:
        client.post(ROUTE, json={"rows": ["my secret", "other"]}, headers={"x-request-id": "mine-1"})
        client.post(ROUTE, json={"rows": "my secret"})
        client.get("/my/secret%0Apath?secret=1")
        client.get("/health")
    lines = capsys.readouterr().err.splitlines()
    told = [json.loads(line) for line in lines]
    assert [line["status"] for line in told] == [200, 422, 404]
    assert told[0].items() >= {"id": "mine-1", "route": ROUTE, "model": "demo@1", "rows": 2, "tokens": 14}.items()
    assert "secret" not in "".join(lines)


def test_what_was_counted_is_told_in_the_format_of_prometheus(client):
    client.post(ROUTE, json={"rows": ["ab", "c"]})
    client.post(ROUTE, json={})
    text = client.get("/metrics").text
    assert f'lathe_requests_total{{route="{ROUTE}",model="demo@1",status="200"}} 1' in text
    assert f'lathe_requests_total{{route="{ROUTE}",model="",status="422"}} 1' in text
    assert 'lathe_rows_total{model="demo@1"} 2' in text
    assert f'lathe_request_seconds_count{{route="{ROUTE}"}} 2' in text
    assert f'lathe_request_seconds_bucket{{route="{ROUTE}",le="+Inf"}} 2' in text


def test_several_models_are_told_apart_by_name():
    models = Models([Served("one", "1", Length()), Served("two", "2", Length())])
    with TestClient(build_app(models, writes_log=False), "http://localhost") as client:
        unnamed = client.post(ROUTE, json={"rows": ["a"]})
        named = client.post(ROUTE, json={"rows": ["a"], "model": "two"})
        version = client.post(ROUTE, json={"rows": ["a"], "model": "one@1"})
        other = client.post(ROUTE, json={"rows": ["a"], "model": "one@2"})
        unknown = client.post(ROUTE, json={"rows": ["a"], "model": "three"})
        task = client.post("/v1/tag", json={"rows": ["a"]})
    assert (named.json()["model"], version.json()["model"]) == ("two@2", "one@1")
    assert [reply.status_code for reply in (unnamed, other, unknown, task)] == [422, 404, 404, 404]
    assert "one, two" in unnamed.json()["error"]
    assert "one: classify" in task.json()["error"]


def test_a_bad_row_of_a_bulk_spoils_no_other(client):
    lines = [b'"good"', b'{"text": 5}', b'{"text": "a", "other": 1}', b"nonsense", b'{"text": ""}', b'"last"']
    lines.insert(5, b'"' + b"a" * 200 + b'"')
    reply = client.post(f"{ROUTE}/bulk", content=b"\n".join(lines), headers={"content-type": "application/x-ndjson"})
    told = [json.loads(line) for line in reply.text.splitlines()]
    assert ["prediction" in one for one in told] == [True, False, False, False, False, False, True]
    assert [one.get("line") for one in told] == [None, 2, 3, 4, 5, 6, None]


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
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = client.post(ROUTE, content=content, headers=JSON)
    assert reply.status_code < 500
    (Answer if reply.status_code == 200 else ProblemAnswer).model_validate(reply.json())
