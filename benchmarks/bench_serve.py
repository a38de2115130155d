"""Claim: a served classifier answers several times as many requests as the same model behind FastAPI or LitServe.

    python benchmarks/bench_serve.py MODEL COMPRESSED [--peer VENV/bin/python]     # VENV: pip install litserve

MODEL is a classifier that `lathe finetune` has made of the 22M-parameter encoder on SST-2, COMPRESSED what
`lathe compress` has made of it. 64 clients ask on kept connections, each again as soon as it is answered, with the
sentences of the validation rows; all servers wait side by side and are asked in turns. Every answer of the first turn
is compared with the rows' labels, so that each server's accuracy stands beside its speed.
"""

import argparse
import gzip
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from common import data_set, write_result
from load import Client, closed, post

CLIENTS, SECONDS, ROUNDS = 64, 8.0, 5
HERE = Path(__file__).parent


@dataclass
class Server:
    name: str
    command: list[str]
    path: str
    port: int
    process: Any = None

    def request(self, text: str) -> bytes:
        asked = {"rows": [text]} if self.path.startswith("/v1") else {"inputs": text}
        return post(self.path, json.dumps(asked).encode(), f"127.0.0.1:{self.port}")

    def label(self, body: bytes) -> str:
        answer = json.loads(body)
        while isinstance(answer, list):
            answer = answer[0]
        answer = answer["predictions"][0] if "predictions" in answer else answer
        return str(answer.get("label", f"{self.name}: {body[:200]!r}"))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def lathe_server(name: str, model: Path, *options: str) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "lathe", "serve", f"m={model}", f"port={port}", "log=false", *options]
    return Server(name, command, "/v1/classify", port)


def peer_server(python: str, which: str, model: Path) -> Server:
    port = free_port()
    script = [str(HERE / "peer_litserve.py")] if which == "litserve" else [str(HERE / "peer_serve.py"), which]
    return Server(which, [python, *script, str(model), str(port)], "/predict", port)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    quiet = subprocess.DEVNULL
    server.process = subprocess.Popen(server.command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        until_s = time.monotonic() + 90
        while not answers(server):
            if server.process.poll() is not None or time.monotonic() > until_s:
                sys.exit(f"{server.name} does not begin: {' '.join(server.command)}")
            time.sleep(0.5)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)  # LitServe's workers outlive it otherwise
        server.process.wait()


def answers(server: Server) -> bool:
    url = f"http://127.0.0.1:{server.port}{server.path}"
    head, body = server.request("a film").split(b"\r\n\r\n")
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def accuracy(server: Server, texts: list[str], labels: list[str]) -> float:
    """Share of the rows that are answered with their label."""
    client = Client("127.0.0.1", server.port, [server.request(text) for text in texts], keeps_bodies=True)
    load = uvloop.run(client.each(CLIENTS))
    told = {number: server.label(body) for number, body in zip(load.question, load.bodies, strict=True)}
    if strange := {label for label in told.values() if label not in labels}:
        print(f"{server.name}: {len(strange)} kinds of other answers, such as {min(strange)}", file=sys.stderr)
    return round(sum(told[number] == label for number, label in enumerate(labels)) / len(labels), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("compressed", type=Path)
    parser.add_argument("--peer", default=sys.executable, help="python of a venv that has litserve and transformers")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    with gzip.open(data_set("sst2") / "validation.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    servers = [
        peer_server(asked.peer, "echo", asked.model),
        peer_server(asked.peer, "fastapi", asked.model),
        peer_server(asked.peer, "litserve", asked.model),
        lathe_server("lathe, float32", asked.model),
        lathe_server("lathe, bf16", asked.model, "precision=bf16"),
        lathe_server("lathe, bf16, 2 workers", asked.model, "precision=bf16", "workers=2"),
        lathe_server("lathe, compressed", asked.compressed),
        lathe_server("lathe, compressed, 2 workers", asked.compressed, "workers=2"),
    ]
    told: dict[str, dict[str, Any]] = {server.name: {"rounds": []} for server in servers}
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(running(server))
            if server.name != "echo":
                told[server.name]["accuracy"] = accuracy(server, texts, labels)
        for number in range(asked.rounds):
            for server in servers:
                client = Client("127.0.0.1", server.port, [server.request(text) for text in texts])
                figures = closed(client, CLIENTS, SECONDS).figures()
                told[server.name]["rounds"].append(figures)
                print(number, server.name, figures, flush=True)
    for one in told.values():
        one["requests_per_second"] = statistics.median(each["answered_per_second"] for each in one["rounds"])
        one["p99_ms"] = statistics.median(each["p99_ms"] for each in one["rounds"])
    rates = {name: one["requests_per_second"] for name, one in told.items()}
    best = max(rates["lathe, bf16"], rates["lathe, bf16, 2 workers"])
    ratios = {
        "times_fastapi": round(best / rates["fastapi"], 2),
        "times_litserve": round(best / rates["litserve"], 2),
        "float32_times_fastapi": round(rates["lathe, float32"] / rates["fastapi"], 2),
        "float32_times_litserve": round(rates["lathe, float32"] / rates["litserve"], 2),
    }
    write_result("serve_speed", {"clients": CLIENTS, "seconds": SECONDS} | ratios | {"servers": told})


if __name__ == "__main__":
    main()
