"""What Schemathesis does beside its checks: it counts, and asks after each hundred whether all answers are as before.

It runs in the environment of the clients; see ``bench_fuzz.py``.
"""

# ruff: noqa: ARG001 (Schemathesis calls its hooks with what they are about)

import atexit
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis

sys.path.append(str(Path(__file__).parent))
from golden import Golden  # noqa: E402

GOLDEN = Golden.read(Path(os.environ["LATHE_GOLDEN"]))
EVERY = 100
NAMES = os.environ["LATHE_MODELS"].split()

chance = random.Random(0)

statuses: Counter[int] = Counter()
slowest: dict[str, Any] = {"seconds": 0.0, "request": ""}
changed: list[str] = []
probes = 0


@schemathesis.serializer("application/x-ndjson")
def as_lines(ctx: Any, value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


@schemathesis.hook
def map_path_parameters(ctx: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Mostly a model that there is: else nothing behind the name would be tried."""
    if path_parameters and "name" in path_parameters and chance.random() < 0.8:
        return path_parameters | {"name": chance.choice(NAMES)}
    return path_parameters


@schemathesis.hook
def map_query(ctx: Any, query: dict[str, Any]) -> dict[str, Any]:
    return query | {"model": chance.choice(NAMES)} if query and "model" in query and chance.random() < 0.8 else query


@schemathesis.hook
def map_body(ctx: Any, body: Any) -> Any:
    is_named = isinstance(body, dict) and isinstance(body.get("model"), str)
    return body | {"model": chance.choice(NAMES)} if is_named and chance.random() < 0.8 else body


@schemathesis.hook
def after_call(ctx: Any, case: Any, response: Any) -> None:
    global probes
    statuses[response.status_code] += 1
    if response.elapsed > slowest["seconds"]:
        slowest.update(seconds=response.elapsed, request=f"{case.method} {case.path}", body=repr(case.body)[:300])
    if statuses.total() % EVERY == 0:
        probes += 1
        changed.extend(GOLDEN.changed())


@atexit.register
def told() -> None:
    answers = {str(status): count for status, count in sorted(statuses.items())}
    found = {"requests": statuses.total(), "answers": answers, "slowest": slowest, "probes": probes, "changed": changed}
    Path(os.environ["LATHE_COUNTS"]).write_text(json.dumps(found), encoding="utf-8")
