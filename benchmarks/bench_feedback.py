"""Claim: feedback that a server has acknowledged is there, once, however the server ends.

    python benchmarks/bench_feedback.py BUNDLE         # any classifier; 50 kills, and 20 rounds on a disk that is full

Eight clients write feedback to a server, each record again with its id until it is acknowledged. The server is killed
with SIGKILL, at a random moment or in the midst of a commit, and begun again on the same store. At the end every
acknowledged record has to be there exactly once and as it was sent. Then a limit on the size of files stands for a full
disk: what is refused with 503 may not be there, what is acknowledged has to be. The rate of 64 clients is told beside.
"""

import argparse
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import uvloop
from bench_serve import free_port
from common import write_result
from load import Client, post

KILLS, CLIENTS, SEED = 50, 8, 0


class Server:
    """A process on one store; it can be killed and begun again on its port."""

    def __init__(self, bundle: Path, store: Path, most_bytes: int | None = None) -> None:
        self.port, self.store, self.most_bytes = free_port(), store, most_bytes
        options = [f"port={self.port}", f"feedback.store={store}", "log=false", "drain_s=0"]
        self.command = [sys.executable, "-m", "lathe", "serve", f"m={bundle}", *options]
        self.process: Any = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        def limited() -> None:
            if self.most_bytes is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.most_bytes, self.most_bytes))

        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(self.command, stdout=quiet, stderr=quiet, preexec_fn=limited)
        while self.ask("GET", "/ready") != 200:
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, method: str, path: str, body: Any = None) -> int:
        """The status, 0 where no answer came."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def feedback(number: str) -> dict[str, Any]:
    text = f"第 {number} 条, row {number}"
    return {"id": number, "model": "m", "task": "classify", "row": {"text": text}, "rating": 1, "note": "很好 " * 20}


class Writers:
    """Clients that write until told to end, and remember what was acknowledged."""

    def __init__(self, server: Server) -> None:
        self.server, self.told, self.strange = server, set[str](), set[int]()
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(place,)) for place in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _write(self, place: int) -> None:
        number = 0
        while not self._ends.is_set():
            name = f"{place}-{number}"
            status = self.server.ask("POST", "/v1/feedback", feedback(name))
            if status == 200:
                self.told.add(name)
                number += 1
            elif status not in (0, 503, 507):
                self.strange.add(status)

    def end(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


def kept(store: Path) -> tuple[list[str], int, str]:
    """Ids that are kept, how many of them not as they were sent, and what SQLite says of the file."""
    link = sqlite3.connect(store)
    lines = link.execute("SELECT id, content FROM feedback").fetchall()
    changed = sum(json.loads(content)[2] != feedback(name)["row"] for name, content in lines)
    (check,) = link.execute("PRAGMA integrity_check").fetchone()
    link.close()
    return [name for name, _ in lines], changed, check


def verdict(writers: Writers, store: Path) -> dict[str, Any]:
    names, changed, check = kept(store)
    return {
        "acknowledged": len(writers.told),
        "lost": len(writers.told - {*names}),
        "twice": len(names) - len({*names}),
        "changed": changed,
        "strange_statuses": sorted(writers.strange),
        "integrity_check": check,
    }


def killed(bundle: Path, folder: Path, kills: int) -> dict[str, Any]:
    server, draw, in_commit = Server(bundle, folder / "kills.db"), random.Random(SEED), 0
    server.begin()
    writers = Writers(server)
    log = folder / "kills.db-wal"
    for number in range(kills):
        time.sleep(draw.uniform(0.05, 0.6))
        if number % 3 == 0:  # as soon as the log is written: a commit is under way, or has just been
            written, until_s = log.stat().st_mtime_ns, time.monotonic() + 1
            while log.stat().st_mtime_ns == written and time.monotonic() < until_s:
                pass
            in_commit += log.stat().st_mtime_ns != written
        server.kill()
        server.begin()
        print(f"{number + 1} kills, {len(writers.told):,} acknowledged", flush=True)
    writers.end()
    server.kill()
    return {"kills": kills, "while_the_log_was_written": in_commit} | verdict(writers, folder / "kills.db")


def disk_full(bundle: Path, folder: Path, rounds: int) -> dict[str, Any]:
    server = Server(bundle, folder / "full.db")
    server.begin()
    writers = Writers(server)
    time.sleep(1)
    refused = 0
    for _ in range(rounds):
        server.kill()
        sizes = [file.stat().st_size for file in folder.glob("full.db*")]
        server.most_bytes = max(sizes) + random.Random(refused).randrange(2_000, 60_000)
        server.begin()
        time.sleep(0.8)
        refused += server.ask("POST", "/v1/feedback", feedback("probe")) == 503
    writers.end()
    server.kill()
    return {"rounds": rounds, "rounds_that_ended_full": refused} | verdict(writers, folder / "full.db")


def rate(bundle: Path, folder: Path) -> dict[str, Any]:
    server = Server(bundle, folder / "rate.db")
    server.begin()
    host = f"127.0.0.1:{server.port}"
    requests = [post("/v1/feedback", json.dumps(feedback(f"r{n}")).encode(), host) for n in range(20_000)]
    load = uvloop.run(Client("127.0.0.1", server.port, requests).each(64))
    server.kill()
    return load.figures()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--kills", type=int, default=KILLS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = {
            "killed": killed(asked.bundle, folder, asked.kills),
            "disk_full": disk_full(asked.bundle, folder, max(1, asked.kills // 5)),
            "rate_of_64_clients": rate(asked.bundle, folder),
        }
    write_result("feedback", {"seed": SEED, "clients": CLIENTS, "file_system": os.uname().sysname} | told)
    parts = (told["killed"], told["disk_full"])
    sys.exit(any(one["lost"] or one["twice"] or one["changed"] or one["integrity_check"] != "ok" for one in parts))


if __name__ == "__main__":
    main()
