"""Refusals that cost nothing: only of whole and plain requests, only while the queue is full, only to that route."""

import pytest

from lathe.serve.gate import Gate
from lathe.serve.refusals import Problem

from .test_server import request


class Queue:
    is_full = True


@pytest.fixture
def gate():
    found, queue = Gate(), Queue()
    found.queue = queue
    found.shut("/v1/classify", lambda: queue.is_full, [(b"retry-after", b"3"), (b"content-length", b"2")], b"{}")
    return found


def test_a_request_to_a_full_queue_gets_the_answer_of_the_one_before(gate):
    answer = gate.refusal(request())
    assert answer == b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\ncontent-length: 2\r\n\r\n{}"
    assert gate.refused == 1


def test_a_queue_that_is_full_no_more_is_open(gate):
    gate.queue.is_full = False
    assert gate.refusal(request()) is None
    gate.queue.is_full = True
    assert gate.refusal(request()) is None  # until it is shut again


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        request()[:-1],
        request()[:40],
        request() + b"P",
        request() * 2,
        request("/v1/tag"),
        request("/v1/classify?model=m"),
        request().replace(b"POST", b"GET"),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("/v1/classify", b"{}", "Connection: close"),
        request("/v1/classify", b"{}", "expect: 100-continue"),
        request("/v1/classify", b"{}", "Transfer-Encoding: chunked"),
        request().replace(b"Content-Length", b"X-Length"),
        b"\xff" * 100,
    ],
)
def test_whatever_is_not_one_whole_plain_request_goes_the_long_way(gate, sent):
    assert gate.refusal(sent) is None


def test_the_first_refusal_shuts_the_gate_and_only_where_all_are_equal(serving, monkeypatch):
    def busy(*_):
        raise Problem(429, "too many rows are waiting", 2.0, lambda: True)

    monkeypatch.setattr("lathe.serve.desk.Desk._not_busy", busy)
    for options, shut in (({}, True), ({"keys": "ann"}, False)):
        from lathe.serve.keys import Keys

        keys = Keys({"ann": "k" * 16}) if options else None
        with serving("classify", keys=keys) as client:
            headers = {"Authorization": f"Bearer {'k' * 16}"}
            first = client.post("/v1/classify", json={"rows": ["good"]}, headers=headers)
            answer = client.app.gate.refusal(request())
        assert first.status_code == 429
        assert (answer is not None) == shut
        if answer is not None:
            head, body = answer.split(b"\r\n\r\n")
            assert body == first.content
            assert b"retry-after: 2" in head
            assert b"content-security-policy" in head
