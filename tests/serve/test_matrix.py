"""Every endpoint with everything that a client may send: an answer where it can be, else a reason; never a fault."""

import json

import pytest

from lathe.serve.keys import Keys
from lathe.serve.limits import Limits

from .conftest import EXAMPLES, client_of

KEY = {"authorization": "Bearer " + "k" * 20}
LIMITS = Limits(body_bytes=200_000, rows=50, characters=2000, waiting_tokens=10**6)
ROWS = {getattr(example.task, "kind", name): (name, example.rows[0]) for name, example in EXAMPLES.items()}
ROWS["rank"] = ("rank", {"query": "film", "candidates": ["good film"]})
ROWS["classify"], ROWS["generate"] = ("classify", "good film"), ("likelihood", "good film")
MESSAGES = [{"role": "user", "content": "good film"}]
BODIES = {
    **{f"/v1/{kind}": {"model": name, "rows": [row]} for kind, (name, row) in ROWS.items()},
    "/v1/embeddings": {"model": "embed", "input": ["good film"]},
    "/v1/completions": {"model": "likelihood", "prompt": "good film", "max_tokens": 3},
    "/v1/chat/completions": {"model": "chat", "messages": MESSAGES, "max_tokens": 3},
    "/models/chat/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 3},
    "/embed": {"inputs": "good film"},
    "/predict?model=classify": {"inputs": "good film"},
    "/rerank?model=rank": {"query": "film", "texts": ["good film"]},
    "/similarity?model=embed": {"inputs": {"source_sentence": "good", "sentences": ["good film"]}},
    "/tokenize?model=tag": {"inputs": "good film"},
    "/?model=classify": {"inputs": "good film"},
    "/models/classify": {"inputs": "good film"},
    "/models/multilabel": {"inputs": "good film", "parameters": {"top_k": 1}},
    "/models/tag": {"inputs": "good film"},
    "/models/answer": {"inputs": {"question": "good", "context": "good film"}},
    "/models/embed": {"inputs": ["good film"]},
    "/models/embed/pipeline/sentence-similarity": {"inputs": {"source_sentence": "good", "sentences": ["a film"]}},
    "/models/pairs": {"inputs": "good film", "parameters": {"candidate_labels": ["film"]}},
    "/models/transform": {"inputs": "good film", "parameters": {"max_new_tokens": 3}},
    "/models/fill": {"inputs": "a [MASK] film"},
    "/models/likelihood": {"inputs": "good film", "parameters": {"max_new_tokens": 3}},
}
PATHS = {path.partition("?")[0] for path in BODIES}
TEXTS = {
    "huge": "good " * 5000,
    "NUL": "good\0film",
    "surrogate": "good \ud800 film",
    "right to left": "\u202eفيلم جيد\u202c שלום",
    "controls": "\x01\x1b[31m\x7f\u2028\ufeff",
    "not a character": "\uffff\U0010ffff",
    "joined": "👩‍👩‍👧‍👦 z̸̡̢͕̀ạ̴l̷g̵o̶",
    "blank": "   \n",
    "empty": "",
    "template": "{{''.__class__}}{% for a in range(9) %}",
    "path": "../../etc/passwd",
    "url": "http://127.0.0.1:1/x",
    "script": "<script>alert(1)</script>",
    "special": "[SEP][CLS][PAD]",
}
LEGAL = ("right to left", "joined", "url", "script", "path")
HUGE = [b"[" * 150_000, b'{"a":' * 20_000, b" " * 300_000]
NAMES = {"model", "role", "label", "kind"}
"""What holds a name, and no text."""


@pytest.fixture(scope="module")
def client(opened):
    with client_of(opened(*EXAMPLES), LIMITS, keys=Keys({"ann": "k" * 20})) as client:
        yield client


def changed(body, text):
    """The body with each of its texts behind another; where there is one with a mask, the mask stays."""
    if isinstance(body, dict):
        return {name: value if name in NAMES else changed(value, text) for name, value in body.items()}
    if isinstance(body, list):
        return [changed(one, text) for one in body]
    if isinstance(body, str):
        return f"{text}[MASK]" if "[MASK]" in body and text.strip() else text
    return body


def send(client, path, body, headers=KEY):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"content-type": "application/json", **headers})


def refused(reply):
    """Whether a reason is given, as JSON."""
    told = reply.json()
    error = told.get("error") if isinstance(told, dict) else None
    return 400 <= reply.status_code < 500 and bool(error["message"] if isinstance(error, dict) else error)


def test_every_endpoint_is_here(client):
    routes = {
        route for route, ways in client.get("/openapi.json", headers=KEY).json()["paths"].items() if "post" in ways
    }
    routes = {route for route in routes if not route.endswith("/bulk")}
    known = {path.partition("?")[0] for path in BODIES}
    for template, example in [
        ("{name}/v1", "chat/v1"),
        ("{name}/pipeline/{task}", "embed/pipeline/sentence-similarity"),
    ]:
        routes = {route.replace(template, example) for route in routes}
    assert {route.replace("{name}", "classify") for route in routes} <= known


@pytest.mark.parametrize("path", BODIES)
class TestEndpoint:
    def test_a_good_request_is_answered_and_again_after_bad_ones(self, client, path):
        before = send(client, path, BODIES[path])
        assert before.status_code == 200, before.text
        for text in TEXTS.values():
            send(client, path, changed(BODIES[path], text))
        after = send(client, path, BODIES[path])
        assert "choices" in before.json() if "completions" in path else after.json() == before.json()

    @pytest.mark.parametrize("kind", TEXTS)
    def test_a_text_is_answered_or_refused_with_a_reason(self, client, path, kind):
        reply = send(client, path, changed(BODIES[path], TEXTS[kind]))
        assert reply.status_code == 200 or refused(reply), reply.text
        begins_from_nothing = kind == "empty" and path == "/v1/generate"
        if kind in ("huge", "surrogate", "empty") and not begins_from_nothing:
            assert refused(reply)
        if kind in LEGAL:
            assert reply.status_code == 200, reply.text

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b"5",
            b'"a"',
            b"{}",
            b"\xff\xfe",
            b"[" * 150_000,
            b'{"a":' * 20_000,
            b"NaN",
            b" " * 300_000,
        ],
        ids=lambda body: repr(body[:6]),
    )
    def test_what_is_no_body_is_refused(self, client, path, body):
        assert refused(send(client, path, body))

    def test_values_of_other_types_are_refused(self, client, path):
        for name, value in BODIES[path].items():
            for wrong in (None, 5, True, [], {}, [[]], [None], {"a": {"b": []}}, 1e400, [5.5], "x" * 70):
                reply = send(client, path, {**BODIES[path], name: wrong})
                may_be = name in ("model", "max_tokens", "parameters") or isinstance(wrong, str | type(value))
                assert refused(reply) or (may_be and reply.status_code == 200), (name, wrong, reply.text)

    def test_names_that_nobody_knows_are_refused(self, client, path):
        assert refused(send(client, path, {**BODIES[path], "colour": "red"}))
        assert refused(send(client, path, {**BODIES[path], "\ud800": 1}))

    def test_no_key_and_a_wrong_one_are_refused(self, client, path):
        for headers in ({}, {"authorization": "Bearer " + "l" * 20}, {"authorization": "Basic x"}, {"x-api-key": ""}):
            assert send(client, path, BODIES[path], headers).status_code == 401

    def test_other_media_types_and_methods_are_refused(self, client, path):
        body = json.dumps(BODIES[path]).encode()
        for media_type in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
            reply = client.post(path, content=body, headers={**KEY, "content-type": media_type})
            assert reply.status_code == 415
        assert client.put(path, content=body, headers=KEY).status_code == 405


@pytest.mark.parametrize(
    "path", [path for path in BODIES if "model" in BODIES[path] or "model=" in path or "/models/" in path]
)
@pytest.mark.parametrize("name", ["other", "../classify", "classify@000000000000", "a" * 5000, "tag\0", "recommend"])
def test_other_models_are_refused(client, path, name):
    """Unknown ones, ones of another task, and names that are paths."""
    if "recommend" in str(BODIES[path]) or ("tokenize" in path and name == "recommend"):
        pytest.skip("it can be asked this")
    place = path
    for known in EXAMPLES:
        place = place.replace(f"model={known}", f"model={name}").replace(f"/models/{known}", f"/models/{name}")
    reply = send(
        client, place.replace("\0", "%00"), BODIES[path] | ({"model": name} if "model" in BODIES[path] else {})
    )
    assert refused(reply), reply.text


def test_a_client_names_no_file_and_no_address(client):
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/models/..%2f..%2fetc",
        "/static/x",
    ):
        assert client.get(path, headers=KEY).status_code in (404, 405)
