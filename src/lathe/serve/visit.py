"""What is known of a request beside its body: for its deadline, its turn in the queue and its line in the log."""

import math
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from lathe.serve.web import HTTPConnection

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_numbers = random.Random()  # of its own seed; an id is no secret, and one of the system would cost a call
_SECONDS = re.compile(r"\d{1,6}(\.\d{1,6})?")


@dataclass
class Visit:
    """One request."""

    id: str  # the client's own, or a new one
    until_s: float  # by time.monotonic
    key: str = ""  # name of the key that it came with
    model: str = ""
    rows: int = 0
    tokens: int = 0
    size_bytes: int = 0  # of the body, as far as it has come
    since_s: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, headers: Mapping[bytes, bytes], answer_s: float) -> "Visit":
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        asked = headers.get(b"x-request-timeout", b"").decode("latin-1").strip()
        patience_s = float(asked) if _SECONDS.fullmatch(asked) else math.inf
        return cls(
            given if _ID.fullmatch(given) else f"{_numbers.getrandbits(128):032x}",
            time.monotonic() + min(answer_s, patience_s),
        )

    @property
    def left_s(self) -> float:
        """Seconds until it is too late for an answer."""
        return max(0.0, self.until_s - time.monotonic())


def visit_of(request: HTTPConnection) -> Visit:
    visit: Visit = request.scope["visit"]
    return visit
