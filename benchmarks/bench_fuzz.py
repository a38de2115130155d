"""Claim: nothing that a client sends makes a server fail, answer what its schema has not, or change a later answer.

make clients, then python benchmarks/bench_fuzz.py [REQUESTS OF SCHEMATHESIS] [BROKEN REQUESTS]; about 10 minutes

A server of a tiny model of every task is asked by Schemathesis (examples, coverage, fuzzing and stateful, good and bad)
until it has asked so often, then by requests that are broken on purpose. After each hundred, all endpoints are asked
again what they answered at first, byte by byte. ``SCHEMATHESIS`` in the environment names another program than that of
``make clients``, ``SEED`` another seed.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common import ROOT, write_result
from golden import Golden
from mutations import Mutation, Question, mutations
from served import EXAMPLES, Server, serving

EVERY = 100
LONGEST_S = 1.0
WAIT_S = 0.2  # for an answer to what may be no whole request, before its end is said
PROGRAM = os.environ.get("SCHEMATHESIS", str(ROOT / ".venv-clients" / "bin" / "st"))
SEED = int(os.environ.get("SEED", "0"))


def main() -> None:
    asked, broken = (int(one) for one in [*sys.argv[1:], "20000", "10000"][:2])
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        golden = server.golden()
        assert not golden.changed()
        before = server.size()
        schema = _schemathesis(server, golden, asked, Path(name))
        between = server.size()
        raw = _broken(server, golden, broken)
        told = {
            "claim": __doc__.splitlines()[0],
            "seed": SEED,
            "schemathesis": schema,
            "broken": raw.told(),
            "log": _log(server.log),
            "size": {"before": asdict(before), "between": asdict(between), "after": asdict(server.size())},
        }
    write_result("fuzz", told)
    faults = [*schema["failures"], *schema["changed"], *raw.faults, *raw.changed]
    if faults or told["log"]["faults"] or told["log"]["answers"].keys() & {"500", "502", "503", "504"}:
        sys.exit(f"it fails: {faults[:5]} {told['log']}")


# ------------------------------------------------------------------------------------------------------ schemathesis
def _schemathesis(server: Server, golden: Golden, requests: int, folder: Path) -> dict[str, Any]:
    """Runs with other seeds until so many requests were made."""
    golden.write(folder / "golden.json")
    total: dict[str, Any] = {"version": _version(), "runs": 0, "requests": 0, "answers": Counter(), "probes": 0}
    total |= {"slowest_s": 0.0, "changed": [], "failures": []}
    while total["requests"] < requests:
        counts, failures = _run(server, folder, SEED + total["runs"], requests - total["requests"])
        total["runs"], total["probes"] = total["runs"] + 1, total["probes"] + counts["probes"]
        total["requests"], total["answers"] = (
            total["requests"] + counts["requests"],
            total["answers"] + Counter(counts["answers"]),
        )
        total["slowest_s"] = max(total["slowest_s"], round(counts["slowest"]["seconds"], 3))
        total["changed"], total["failures"] = total["changed"] + counts["changed"], total["failures"] + failures
        print(f"schemathesis: {total['requests']:,} requests, {len(total['failures'])} failures", flush=True)
    return total | {"answers": dict(sorted(total["answers"].items()))}


def _version() -> str:
    return subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _run(server: Server, folder: Path, seed: int, wanted: int) -> tuple[dict[str, Any], list[str]]:
    """What the hooks counted, and the checks that failed, each with the request."""
    own = Path(__file__).parent
    told, report = folder / "counts.json", folder / "report.json"
    names = {
        "SCHEMATHESIS_HOOKS": str(own / "schemathesis_hooks.py"),
        "LATHE_GOLDEN": str(folder / "golden.json"),
        "LATHE_COUNTS": str(told),
        "LATHE_MODELS": " ".join(EXAMPLES),
    }
    command = [PROGRAM, "--config-file", str(own / "schemathesis.toml"), "run", f"{server.address}/openapi.json"]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--mode", "all", "--checks", "all", "--no-shrink"]
    command += ["--max-examples", str(max(20, min(300, wanted // 60))), "--seed", str(seed), "--continue-on-failure"]
    command += ["--generation-database", "none", "--report", "json", "--report-json-path", str(report)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | names
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if not told.is_file():
        sys.exit(f"schemathesis did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    failures = [] if done.returncode == 0 else [done.stdout[done.stdout.find("= FAILURES =") :][:3000]]
    return json.loads(told.read_text(encoding="utf-8")), failures


# ------------------------------------------------------------------------------------------------------------ broken
@dataclass
class Raw:
    """What came of broken requests."""

    kinds: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    probes: int = 0

    def told(self) -> dict[str, Any]:
        counts = {"kinds": dict(sorted(self.kinds.items())), "answers": dict(sorted(self.answers.items()))}
        return {"requests": self.kinds.total(), **counts, "slowest_s": round(self.slowest_s, 3), "probes": self.probes,
                "changed": self.changed, "faults": self.faults[:20]}  # fmt: skip


def _broken(server: Server, golden: Golden, count: int) -> Raw:
    questions = [Question(one["path"], one["body"].encode(), one["media_type"]) for one in golden.questions]
    place = urlsplit(server.address)
    found = Raw()
    for number, mutation in enumerate(islice(mutations(questions, SEED), count), 1):
        replies, seconds = _sent((str(place.hostname), int(place.port or 0)), mutation)
        statuses = [_status(reply) for reply in replies] or ["closed"]
        found.kinds[mutation.kind] += 1
        found.answers.update(statuses)
        found.slowest_s = max(found.slowest_s, seconds)
        if any(status.startswith("5") for status in statuses) or seconds > LONGEST_S or not all(map(_is_told, replies)):
            found.faults.append(f"{mutation.kind} {statuses} {seconds:.2f} s {mutation.content[:300]!r}")
        if number % EVERY == 0:
            found.probes += 1
            found.changed += golden.changed()
        if number % 2000 == 0:
            print(f"broken: {number:,} requests, {len(found.faults)} faults", flush=True)
    return found


def _sent(place: tuple[str, int], mutation: Mutation) -> tuple[list[bytes], float]:
    """The answers, one after the other, and the seconds until the last."""
    content = bytearray()
    with socket.create_connection(place, timeout=10) as connection:
        since_s = until_s = time.perf_counter()
        try:
            connection.sendall(mutation.content)
            connection.settimeout(10 if mutation.is_whole else WAIT_S)
            while piece := _piece(connection):
                content, until_s = content + piece, time.perf_counter()
        except (ConnectionResetError, BrokenPipeError):  # it did not want to read to the end
            pass
    parts = bytes(content).split(b"HTTP/1.1 ")
    return [part for part in parts[1:] if not part.startswith(b"100")], until_s - since_s


def _piece(connection: socket.socket) -> bytes:
    """What comes next; who waits in vain says that nothing more will be sent."""
    try:
        return connection.recv(65536)
    except TimeoutError:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        return connection.recv(65536)


def _status(reply: bytes) -> str:
    return reply[:3].decode("latin-1")


def _is_told(reply: bytes) -> bool:
    """Whether an answer says what it is: JSON, lines of it, or the plain words of the HTTP server."""
    head, _, body = reply.partition(b"\r\n\r\n")
    if b"application/json" in head.lower() and b"chunked" not in head.lower() and body:
        told = json.loads(body)
        return reply.startswith(b"200") or bool(told.get("error"))
    return True


# --------------------------------------------------------------------------------------------------------------- log
def _log(file: Path) -> dict[str, Any]:
    """What the server itself noted: a line for each request, and faults by their places."""
    lines = file.read_text(encoding="utf-8").splitlines()
    requests = [json.loads(line) for line in lines if line.startswith("{")]
    faults = Counter(line.partition(": ")[2] for line in lines if "Error at " in line or "Exception at " in line)
    answers = Counter(str(one["status"]) for one in requests)
    slowest = max(requests, key=lambda one: float(one["ms"]))
    return {"requests": len(requests), "answers": dict(sorted(answers.items())), "faults": dict(faults),
            "slowest_s": slowest["ms"] / 1000, "slowest_route": slowest["route"]}  # fmt: skip


if __name__ == "__main__":
    main()
