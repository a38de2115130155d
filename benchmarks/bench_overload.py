"""Claim: more than a server can answer is refused at once, and what it takes is answered as fast as on a quiet day.

    python benchmarks/bench_overload.py MODEL        # a classifier; the server on core 0, the client on core 1

What the server can answer is measured first: the best rate of some clients that wait for their answers, none of whom is
refused; its time when quiet with a fifth of that. Then questions come at four and at ten times that rate, at random
moments, whether answers come or not. Beside them somebody asks /health ten times a second. The server is told by
``limits.wait_s`` how long an answer may take.
"""

import argparse
import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop
from bench_serve import Server, free_port, running
from common import data_set, write_result
from load import Client, Load, closed, get

SECONDS, QUIET_SHARE = 20.0, 0.2
RATES = (4, 10)


def server_of(model: Path, options: list[str]) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "lathe", "serve", f"m={model}", f"port={port}", "log=false", *options]
    return Server("lathe", ["taskset", "-c", "0", *command], "/v1/classify", port)


def memory_mib(server: Server) -> float:
    return round(psutil.Process(server.process.pid).memory_info().rss / 2**20, 1)


async def beside_health(client: Client, health: Client, rate: float, seconds: float) -> tuple[Load, Load]:
    """Questions at a rate, and /health ten times a second."""
    import asyncio

    return await asyncio.gather(client.open(rate, seconds), health.open(10, seconds, seed=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("options", nargs="*", default=["precision=bf16", "limits.wait_s=0.03"])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    asked = parser.parse_args()
    os.sched_setaffinity(0, {1})
    with gzip.open(data_set("sst2") / "validation.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    server = server_of(asked.model, asked.options)
    with running(server):
        requests = [server.request(text) for text in texts]
        client = Client("127.0.0.1", server.port, requests)
        health = Client("127.0.0.1", server.port, [get("/health", f"127.0.0.1:{server.port}")])
        closed(client, 8, 3.0)
        tried = {clients: closed(client, clients, 6.0).figures() for clients in (1, 2, 3, 4, 6)}
        capacity = max(one["answered_per_second"] for one in tried.values() if not one["other"])
        quiet = uvloop.run(client.open(capacity * QUIET_SHARE, asked.seconds)).figures()
        print({"capacity": capacity, "quiet": quiet}, flush=True)
        told: dict[str, Any] = {}
        for times in RATES:
            before = memory_mib(server)
            load, beside = uvloop.run(beside_health(client, health, capacity * times, asked.seconds))
            figures, after = load.figures(), memory_mib(server)
            time.sleep(2)
            calm = uvloop.run(client.open(capacity * QUIET_SHARE, 5.0)).figures()
            told[f"{times}x"] = figures | {
                "goodput": round(figures["answered_per_second"] / capacity, 3),
                "p99_times_quiet": round(figures["p99_ms"] / quiet["p99_ms"], 2),
                "health_p99_ms": beside.figures()["p99_ms"],
                "memory_mib": [before, after],
                "p99_ms_two_seconds_later": calm["p99_ms"],
            }
            print({f"{times}x": told[f"{times}x"]}, flush=True)
    write_result(
        "serve_overload",
        {"options": asked.options, "seconds": asked.seconds, "capacity": capacity, "closed": tried, "quiet": quiet}
        | {"overload": told},
    )


if __name__ == "__main__":
    main()
