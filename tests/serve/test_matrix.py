"""Every endpoint with everything that a client may send: an answer where it can be, else a reason; never a fault."""

import json
import re

import pytest

from lathe.serve.app import build_app
from lathe.serve.guard import OPEN
from lathe.serve.keeper import Keeper
from lathe.serve.keeping import Keeping
from lathe.serve.keys import Keys
from lathe.serve.limits import Limits

from .conftest import EXAMPLES
from .direct import direct
from .questions import BODIES, GETS, PAGE, content_of, is_bulk

KEY = {"authorization": "Bearer " + "k" * 20}
NO_KEYS = [{}, {"authorization": "Bearer " + "l" * 20}, {"authorization": "Basic x"}, {"x-api-key": ""}]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "get", "A B"]
LIMITS = Limits(body_bytes=200_000, rows=50, characters=2000, waiting_tokens=10**6)
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
NEVER = ("huge", "NUL", "surrogate")
NO_BODIES = [b"", b"{", b"null", b"[]", b"5", b'"a"', b"{}", b"\xff\xfe", b"NaN", b" " * 300_000]
NO_BODIES += [b"[" * 150_000, b'{"a":' * 20_000]
NAMES = {"model", "role", "label", "kind", "task"}
"""What holds a name, and no text."""
WHOLE = [path for path in BODIES if not is_bulk(path)]
BULKS = [path for path in BODIES if is_bulk(path)]


KEPT = ("GET", "/v1/feedback")


@pytest.fixture(scope="module")
def app(opened, tmp_path_factory):
    keeper = Keeper(Keeping(store=str(tmp_path_factory.mktemp("kept") / "feedback.db")))
    return build_app(opened(*EXAMPLES), LIMITS, keys=Keys({"ann": "k" * 20}), writes_log=False, keeper=keeper)


@pytest.fixture(scope="module")
def client(app):
    with direct(app) as client:
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
    content, media_type = content_of(path, body)
    return client.request("POST", path, content, {"content-type": media_type, **headers})


def refused(reply):
    """Whether a reason is given, as JSON."""
    if not 400 <= reply.status_code < 500:
        return False
    told = reply.json()
    error = told.get("error") if isinstance(told, dict) else None
    return bool(error["message"] if isinstance(error, dict) else error)


def lines(reply):
    """What a bulk tells of each line: True where it is answered, False where a reason is given."""
    told = [json.loads(line) for line in reply.text.splitlines()]
    assert all(bool(one.get("prediction")) != bool(one.get("error")) for one in told), reply.text
    return ["prediction" in one for one in told]


def same(one, other):
    """Whether two answers are the same, but for when they were made."""
    return re.sub(r'"(created|id)":[^,]*', "", one.text) == re.sub(r'"(created|id)":[^,]*', "", other.text)


# ------------------------------------------------------------------------------------------------------------ routes
def test_every_route_is_asked_here(app):
    """A new one is named in ``questions``; else nothing here would try it."""
    asked = {("POST", path) for path in BODIES} | {("GET", path) for path in GETS} | {("HEAD", "/health")}
    asked = {(method, path.partition("?")[0]) for method, path in asked} | {("DELETE", "/v1/feedback/x")}
    ways = [(method, route) for route in app.app.state.routes for method in route.methods]
    missed = {
        (method, route.path)
        for method, route in ways
        if not any(method == known and route.path_regex.fullmatch(path) for known, path in asked)
    }
    assert {path for method, path in missed if method != "HEAD"} == set()


def test_only_life_is_told_without_a_key(client):
    """Every route by every method: nothing new is open, and of the page what holds nothing."""
    assert set(OPEN) == {"/health", "/ready"}
    places = {path.partition("?")[0] for path in (*BODIES, *GETS)} | {
        "/v1/feedback/x",
        "/nothing",
        "/health/x",
        "//health",
        "/Health",
    }
    answered = {
        (path, method)
        for path in places
        for method in METHODS
        for headers in NO_KEYS
        if client.request(method, path, headers=headers).status_code != 401
    }
    assert answered == {(path, method) for path in (*OPEN, *PAGE) for method in ("GET", "HEAD")}
    assert all(client.get(path, KEY).status_code == 200 for path in GETS)


@pytest.mark.parametrize("path", BODIES)
def test_no_key_and_a_wrong_one_are_refused(client, path):
    for headers in NO_KEYS:
        assert send(client, path, BODIES[path], headers).status_code == 401


@pytest.mark.parametrize("path", BODIES)
def test_other_media_types_and_methods_are_refused(client, path):
    body, _ = content_of(path, BODIES[path])
    for media_type in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert send(client, path, body, {**KEY, "content-type": media_type}).status_code == 415
    for method in METHODS:
        has = method == "POST" or (method in ("GET", "HEAD") and path.startswith("/?")) or (method, path) == KEPT
        assert (client.request(method, path, body, KEY).status_code == 405) != has


# -------------------------------------------------------------------------------------------------------- one by one
@pytest.mark.parametrize("path", WHOLE)
class TestEndpoint:
    def test_texts_are_answered_or_refused_with_a_reason_and_change_no_later_answer(self, client, path):
        before = send(client, path, BODIES[path])
        assert before.status_code == 200, before.text
        for kind, text in TEXTS.items():
            reply = send(client, path, changed(BODIES[path], text))
            assert reply.status_code == 200 or refused(reply), (kind, reply.text)
            begins_from_nothing = kind == "empty" and path == "/v1/generate"
            if kind in NEVER or (kind == "empty" and not begins_from_nothing):
                assert refused(reply), kind
            if kind in LEGAL:
                assert reply.status_code == 200, (kind, reply.text)
        assert same(before, send(client, path, BODIES[path]))

    def test_what_is_no_body_is_refused(self, client, path):
        for body in NO_BODIES:
            assert refused(send(client, path, body)), body[:9]

    def test_values_of_other_types_are_refused(self, client, path):
        for name, value in BODIES[path].items():
            for wrong in (None, 5, True, [], {}, [[]], [None], {"a": {"b": []}}, 1e400, [5.5], "x" * 70):
                reply = send(client, path, {**BODIES[path], name: wrong})
                may_be = name in ("model", "max_tokens", "parameters") or isinstance(wrong, str | type(value))
                assert refused(reply) or (may_be and reply.status_code == 200), (name, wrong, reply.text)

    def test_names_that_nobody_knows_are_refused(self, client, path):
        assert refused(send(client, path, {**BODIES[path], "colour": "red"}))
        assert refused(send(client, path, {**BODIES[path], "\ud800": 1}))


# -------------------------------------------------------------------------------------------------------- in bulk
@pytest.mark.parametrize("path", BULKS)
class TestBulk:
    def test_texts_are_answered_or_refused_line_by_line_and_change_no_other(self, client, path):
        good = BODIES[path][0]
        before = send(client, path, [good])
        assert lines(before) == [True]
        reply = send(client, path, [row for text in TEXTS.values() for row in (good, changed(good, text))])
        told = dict(zip(TEXTS, lines(reply)[1::2], strict=True))
        assert lines(reply)[::2] == [True] * len(TEXTS)
        assert not any(told[kind] for kind in (*NEVER, "empty"))
        assert all(told[kind] for kind in LEGAL)
        assert same(before, send(client, path, [good]))

    def test_what_is_no_row_is_a_line_and_no_fault(self, client, path):
        for body in NO_BODIES:
            reply = send(client, path, body)
            assert refused(reply) or lines(reply) in ([False], [path.startswith("/v1/") and body == b'"a"']), body[:9]

    def test_names_and_types_that_no_row_has_are_refused(self, client, path):
        good = BODIES[path][0]
        row = good if isinstance(good, dict) else {"text": good}
        rows = [
            row | {"colour": "red"},
            row | {"\ud800": 1},
            *({**row, name: wrong} for name in row for wrong in (5, {})),
        ]
        assert not any(lines(send(client, path, rows)))


# -------------------------------------------------------------------------------------------------------- models
@pytest.mark.parametrize(
    "path", [path for path in BODIES if "model" in BODIES[path] or "model=" in path or "/models/" in path]
)
def test_other_models_are_refused(client, path):
    """Unknown ones, ones of another task, and names that are paths."""
    for name in ("other", "../classify", "classify@000000000000", "a" * 5000, "tag\0", "recommend"):
        if name == "recommend" and ("recommend" in str(BODIES[path]) + path or "tokenize" in path):
            continue  # it can be asked this
        if "@" in name and path == "/v1/feedback":
            continue  # the version that answered may have been replaced
        place = path
        for known in EXAMPLES:
            place = place.replace(f"model={known}", f"model={name}").replace(f"/models/{known}", f"/models/{name}")
        body = BODIES[path] | {"model": name} if "model" in BODIES[path] else BODIES[path]
        reply = send(client, place.replace("\0", "%00"), body)
        assert refused(reply), (name, reply.text)


def test_a_client_names_no_file_and_no_address(client):
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/models/..%2f..%2fetc",
        "/static/x",
    ):
        assert client.get(path, KEY).status_code in (404, 405)
