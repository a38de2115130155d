"""Claim: models are replaced and servers ended under load without a request lost, and slow clients slow nobody else.

    python benchmarks/bench_steady.py ONE OTHER        # bundles of one task; 50 swaps and drains, 1,000 slow

*Swaps*: a link leads to one bundle and to the other in turn, each time with SIGHUP, while eight clients ask. *Drains*:
a server is asked by eight clients and told to end; a client ends when it is told that its connection closes. Whatever
was sent to a server that took it has to be answered. *Slow clients*: a thousand that send a byte now and then, or
nothing, or a body that does not end; the times of others with and without them.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop
from bench_serve import Server, free_port, running
from common import write_result
from load import LOST, Client, Load

TEXT, CLIENTS, SLOW = "a great film, 很好", 8, 1000


def server_of(model: Path, *options: str) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "lathe", "serve", f"m={model}", f"port={port}", "log=false", *options]
    return Server("lathe", command, "/v1/classify", port)


def client_of(server: Server) -> Client:
    return Client("127.0.0.1", server.port, [server.request(TEXT)], keeps_bodies=True)


def lead(link: Path, folder: Path) -> None:
    new = link.with_name("new")
    new.symlink_to(folder.resolve())
    new.replace(link)


def swaps(folders: list[Path], count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "live"
        link.symlink_to(folders[0].resolve())
        server = server_of(link)
        with running(server):
            client, ends = client_of(server), asyncio.Event()

            async def swap() -> None:
                for number in range(1, count + 1):
                    lead(link, folders[number % 2])
                    server.process.send_signal(signal.SIGHUP)
                    await asyncio.sleep(0.5)
                ends.set()

            async def both() -> Load:
                load, _ = await asyncio.gather(client.until(ends, CLIENTS), swap())
                return load

            load = uvloop.run(both())
    answers = zip(load.status, load.bodies, strict=True)
    versions = [json.loads(body)["model"] for status, body in answers if status == 200]
    seen = sum(one != other for one, other in zip(versions, versions[1:], strict=False))
    return load.figures() | {"swaps": count, "versions": sorted({*versions}), "changes_seen": seen}


def drains(model: Path, count: int) -> dict[str, Any]:
    asked, lost, statuses, ended_s, left = 0, 0, set[int](), [], 0
    for _ in range(count):
        server = server_of(model, "drain_s=0.3")
        with running(server):
            client, ends = client_of(server), asyncio.Event()

            async def drain(server: Server = server, client: Client = client, ends: asyncio.Event = ends) -> Load:
                asking = asyncio.ensure_future(client.until(ends, CLIENTS, stops_when_closed=True))
                await asyncio.sleep(0.5)
                server.process.send_signal(signal.SIGTERM)
                return await asking

            family = psutil.Process(server.process.pid).children(recursive=True)
            since_s = time.monotonic()
            load = uvloop.run(drain())
            server.process.wait(30)
            ended_s.append(time.monotonic() - since_s)
            left += sum(one.is_running() for one in family)
        asked += len(load.status)
        lost += load.status.count(LOST)
        statuses |= {*load.status}
    told = {"drains": count, "asked": asked, "lost": lost, "statuses": sorted(statuses)}
    return told | {"processes_left": left, "longest_end_s": round(max(ended_s), 2)}


async def slow_clients(server: Server, count: int, ends: asyncio.Event) -> None:
    """A third each: a head byte by byte, nothing at all, a body without end."""
    head = f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n".encode()

    async def one(place: int) -> None:
        while not ends.is_set():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                if place % 3 == 2:
                    writer.write(head + b"Content-Length: 4000000\r\n\r\n")
                for number in range(1000):
                    if ends.is_set() or writer.is_closing():
                        break
                    if place % 3 != 1:
                        writer.write(head[number % 60 : number % 60 + 1] if place % 3 == 0 else b" ")
                    await asyncio.sleep(1)
                writer.close()

    await asyncio.gather(*(one(place) for place in range(count)))


def beside_slow(model: Path, count: int, rate: float, seconds: float) -> dict[str, Any]:
    server = server_of(model)
    with running(server):
        process = psutil.Process(server.process.pid)
        uvloop.run(client_of(server).open(rate, 3.0))
        alone = uvloop.run(client_of(server).open(rate, seconds)).figures()
        files, memory = process.num_fds(), process.memory_info().rss

        async def both() -> tuple[Load, int]:
            ends = asyncio.Event()
            slow = asyncio.ensure_future(slow_clients(server, count, ends))
            await asyncio.sleep(3)
            open_files = process.num_fds()
            load = await client_of(server).open(rate, seconds)
            ends.set()
            await slow
            return load, open_files

        load, open_files = uvloop.run(both())
        beside = load.figures()
        time.sleep(2)
        return {
            "slow_clients": count,
            "alone": alone,
            "beside": beside,
            "p99_times_alone": round(beside["p99_ms"] / alone["p99_ms"], 2),
            "files": {"before": files, "beside": open_files, "after": process.num_fds()},
            "memory_mib_more": round((process.memory_info().rss - memory) / 2**20, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--times", type=int, default=50, help="swaps, and drains")
    asked = parser.parse_args()
    told: dict[str, Any] = {"beside_slow_clients": beside_slow(asked.one, SLOW, 100.0, 10.0)}
    print(told, flush=True)
    told["swaps"] = swaps([asked.one, asked.other], asked.times)
    print(told["swaps"], flush=True)
    told["drains"] = drains(asked.one, asked.times)
    write_result("serve_steady", told)


if __name__ == "__main__":
    main()
