"""A server process with a tiny model of every task, for the benchmarks that ask it everything."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from common import ROOT
from golden import Golden

sys.path.append(str(ROOT / "tests"))  # where the tiny models are made
from conftest import tiny_bert, tiny_gpt2, tiny_tokenizer  # noqa: E402
from serve.conftest import EXAMPLES, make  # noqa: E402
from serve.questions import BODIES, content_of  # noqa: E402


@dataclass(frozen=True)
class Size:
    """What a process holds."""

    rss_mib: float
    files: int  # open files and sockets
    threads: int


@dataclass(frozen=True)
class Server:
    address: str
    process: psutil.Process
    log: Path  # its standard error

    def size(self) -> Size:
        process = self.process
        return Size(round(process.memory_info().rss / 2**20, 1), process.num_fds(), process.num_threads())

    def golden(self) -> Golden:
        """A question to every endpoint, with the answers of now."""
        asked = {path: content_of(path, body) for path, body in BODIES.items()}
        return Golden(
            self.address,
            [{"path": path, "body": body.decode(), "media_type": kind} for path, (body, kind) in asked.items()],
        )


def models(folder: Path) -> list[Path]:
    """A model of every task, with random weights."""
    return [make(folder / name, name, tiny_tokenizer(), tiny_bert(), tiny_gpt2()) for name in EXAMPLES]


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Server]:
    """A server of its own on a free port of this machine; it ends with the block."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "lathe", "serve", *map(str, models(folder)), "port=0", *arguments]
    with log.open("w", encoding="utf-8") as stream, subprocess.Popen(command, stderr=stream) as process:
        try:
            yield Server(_address(log, process), psutil.Process(process.pid), log)
        finally:
            process.terminate()
            process.wait(30)


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    while process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8")):
            return found.group()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    sys.exit(f"the server did not begin: {log.read_text(encoding='utf-8')[-2000:]}")
