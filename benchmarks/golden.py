"""Whether a server still answers what it answered at first. Only the standard library: it runs beside any client."""

import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TIME = re.compile(rb'"created": ?\d+')
"""The only thing that may change: when an answer was made."""


class Golden:
    """Requests and the answers that they had at first, byte by byte."""

    def __init__(self, address: str, questions: list[dict[str, str]]) -> None:
        self.address, self.questions = address, questions
        self.answers = self.ask()

    @classmethod
    def read(cls, file: Path) -> "Golden":
        known = json.loads(file.read_text(encoding="utf-8"))
        golden = cls.__new__(cls)
        golden.address, golden.questions = known["address"], known["questions"]
        golden.answers = [answer.encode("latin-1") for answer in known["answers"]]
        return golden

    def write(self, file: Path) -> None:
        answers = [answer.decode("latin-1") for answer in self.answers]
        known: dict[str, Any] = {"address": self.address, "questions": self.questions, "answers": answers}
        file.write_text(json.dumps(known), encoding="utf-8")

    def ask(self) -> list[bytes]:
        """An answer to each, with its status before it."""
        netloc = urlsplit(self.address).netloc
        connection = http.client.HTTPConnection(netloc, timeout=60)
        try:
            return [self._answer(connection, one) for one in self.questions]
        finally:
            connection.close()

    def _answer(self, connection: http.client.HTTPConnection, question: dict[str, str]) -> bytes:
        headers = {"Content-Type": question["media_type"], "X-Request-Id": "golden"}
        connection.request("POST", question["path"], question["body"].encode(), headers)
        reply = connection.getresponse()
        return b"%d " % reply.status + _TIME.sub(b'"created":0', reply.read())

    def changed(self) -> list[str]:
        """Paths whose answers are others now."""
        found = self.ask()
        together = zip(self.questions, self.answers, found, strict=True)
        return [question["path"] for question, before, now in together if before != now]
