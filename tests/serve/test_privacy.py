"""What people write stays between them and the model: never in a log, in figures, or in a reason for refusing."""

import json
from dataclasses import replace

import pytest

from lathe.serve.app import build_app
from lathe.serve.keys import Keys
from lathe.serve.limits import Limits
from lathe.serve.served import Models

from .conftest import EXAMPLES
from .direct import direct
from .questions import BODIES, content_of, is_bulk
from .test_matrix import changed

KEY = "k" * 20
LIMITS = Limits(body_bytes=20_000, rows=5, characters=400, tokens=3000)
FORMS = [
    "anna{n}@example.org", "+49 151 {n:07d}", "DE{n:020d}", "张伟{n}号", "4111 1111 {n:04d} 1111",
    "born 19{n:04d}-01-02", "password={n}hunter2", "10.0.{n}.7", "Иван{n}\u2028x",
    "\x1b[31mMüller{n}\r\n{{\"status\": 200}}",
]  # fmt: skip
"""Data of persons, numbered; two of them with what would begin a line of its own."""
MARK = "CANARY{n}X"
"""Beside each of them, for what is cut into pieces."""


def canaries():
    """Without an end, each once."""
    n = 0
    while True:
        for form in FORMS:
            n += 1
            yield form.format(n=n) + MARK.format(n=n)


def requests(words):
    """To each endpoint one that is answered and some that are refused, each with texts of persons in every place."""
    for path, body in BODIES.items():
        good, media_type = content_of(path, changed(body, next(words)))
        longest, _ = content_of(path, changed(body, next(words) * 40))
        half, _ = content_of(path, changed(body, next(words) + "\ud800"))
        word = json.dumps(next(words))
        yield path, good, {"content-type": media_type}
        yield path, longest, {"content-type": media_type}
        yield path, half, {"content-type": media_type}
        yield path, good.replace(b'": ', f'": {word}, "x": '.encode(), 1), {"content-type": media_type}
        yield path, good.replace(b'{"', f'{{{word}: {word}, "'.encode(), 1), {"content-type": media_type}
        yield path, good[: len(good) // 2], {"content-type": media_type}
        yield path, good + next(words).encode() * 900, {"content-type": media_type}
        yield path, good, {"content-type": next(words).encode("ascii", "replace").decode().replace("\r\n", "")}
        named = {"model": next(words), "stop": [next(words)], "user": next(words), next(words): next(words)}
        changes = body | named if isinstance(body, dict) else [named]
        yield path, content_of(path, changes)[0], {"content-type": media_type}
        yield path, good, {"content-type": media_type, "authorization": f"Bearer {next(words)!a}"}
        odd = {name: f"{next(words)!a}" for name in ("x-request-id", "user-agent", "x-request-timeout", "cookie")}
        yield path, good, {"content-type": media_type, **odd}
        yield f"/{next(words)!a}", good, {"content-type": media_type}
        yield f"{path}{'&' if '?' in path else '?'}x={next(words)!a}", good, {"content-type": media_type}
        yield "/models/" + "".join(f"%{byte:02x}" for byte in next(words).encode()), good, {"content-type": media_type}


def test_no_text_of_a_request_is_told_to_others(opened, capsys):
    """In no line of the log, no figure and no reason; nor is a line forged: there is one for each request."""
    app = build_app(opened(*EXAMPLES), LIMITS, keys=Keys({"ann": KEY}))
    words, count, reasons = canaries(), 0, []
    capsys.readouterr()
    with direct(app) as client:
        for path, content, headers in requests(words):
            reply = client.request("POST", path, content, {"x-api-key": KEY} | headers)
            count += 1
            assert reply.status_code < 500, (path, reply.text)
            if reply.status_code != 200:
                reasons.append(reply.text)
            elif is_bulk(path):
                reasons += [one["error"] for line in reply.text.splitlines() if "error" in (one := json.loads(line))]
            assert "CANARY" not in str(dict(reply.headers)), path
        metrics = client.get("/metrics", {"x-api-key": KEY}).text
    log = capsys.readouterr()
    lines = [json.loads(line) for line in log.err.splitlines()]
    assert len(lines) == count + 1
    assert all(list(line) == list(lines[0]) for line in lines)
    assert len(reasons) > 300 and int(next(words).rpartition("CANARY")[2][:-1]) > 1000
    for told in (log.out, log.err, metrics, *reasons):
        assert "CANARY" not in told, told[:300]
        assert not any(form.format(n="")[:4] in told for form in ("anna{n}@", "Mül{n}ler", "张伟{n}", "Иван{n}"))


@pytest.mark.parametrize(("route", "media_type"), [("/v1/classify", "json"), ("/v1/classify/bulk", "x-ndjson")])
def test_a_fault_of_ours_tells_its_place_alone(opened, capsys, route, media_type):
    """Though a library says the text in its message; also where the answer has begun, whose client sees it cut off."""
    known = opened("classify")["classify"]

    class Broken:
        task = known.predictor.task

        def encode(self, rows):
            raise RuntimeError(f"cannot read {rows}")

    app = build_app(Models([replace(known, predictor=Broken())]))
    capsys.readouterr()
    body = b'"CANARY"' if route.endswith("bulk") else b'{"rows": ["CANARY"]}'
    with direct(app) as client:
        reply = client.request("POST", route, body, {"content-type": f"application/{media_type}"})
        metrics = client.get("/metrics").text
    said = capsys.readouterr()
    fault, line, *_ = said.err.splitlines()
    assert reply.status_code == (200 if route.endswith("bulk") else 500)
    assert f"POST {route}: RuntimeError at" in fault
    assert json.loads(line)["status"] == 500
    assert "CANARY" not in said.err + said.out + reply.text + metrics
