"""Claim: a server that has answered a hundred thousand requests is as large as before, and answers as before.

python benchmarks/bench_soak.py [REQUESTS]

Requests of many lengths to every endpoint of a server of a tiny model of every task, ``AT_ONCE`` at a time. Its size is
taken again and again, and its growth is the slope of a line through what was taken after the first fifth, which warms
it up. 100,000 requests take about 15 minutes on two cores.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from common import write_result
from served import BODIES, Server, Size, content_of, serving

AT_ONCE = 8
SAMPLES = 50
WARM_RATIO = 0.2
WORDS = ["good", "bad", "film", "plot", "the", "a", "is", "not", "in", "Paris", "影片", "很好", "坏"]
LONG = "422, longer than the model goes on from"
NAMES = {"model", "role", "label", "kind"}
"""What holds a name, and no text."""


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name, serving(Path(name), "log=false") as server:
        golden = server.golden()
        since_s = time.perf_counter()
        answers, sizes = asyncio.run(_soaked(server, requests))
        seconds = time.perf_counter() - since_s
        changed = golden.changed()
    kept = [one for one in sizes if one[0] >= WARM_RATIO * requests]
    told: dict[str, Any] = {
        "claim": __doc__.splitlines()[0],
        "requests": answers.total(),
        "at_once": AT_ONCE,
        "requests_per_second": round(requests / seconds, 1),
        "answers": dict(sorted(answers.items())),
        "changed": changed,
        "growth_per_10k_requests": {name: _slope(kept, name) for name in ("rss_mib", "files", "threads")},
        "size": {"first": asdict(sizes[0][1]), "warm": asdict(kept[0][1]), "last": asdict(sizes[-1][1])},
    }
    write_result("soak", told)
    if changed or answers.keys() - {"200", LONG}:
        sys.exit("some requests were not answered, or answers have changed")


async def _soaked(server: Server, requests: int) -> tuple[Counter[str], list[tuple[int, Size]]]:
    """How often each status came, and the server's size after so many requests."""
    numbers, answers = count(), Counter[str]()
    sizes = [(0, server.size())]
    every = max(1, requests // SAMPLES)

    async def ask(client: httpx.AsyncClient) -> None:
        while (number := next(numbers)) < requests:
            path, content, media_type = _question(number)
            try:
                reply = await client.post(path, content=content, headers={"Content-Type": media_type})
                is_long = reply.status_code == 422 and "shorten it" in reply.text
                answers[LONG if is_long else str(reply.status_code)] += 1
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1
            if number and number % every == 0:
                sizes.append((number, server.size()))
                if len(sizes) % (SAMPLES // 10) == 0:
                    print(f"{number:,} requests, {sizes[-1][1]}", flush=True)

    async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:
        await asyncio.gather(*(ask(client) for _ in range(AT_ONCE)))
    return answers, [*sizes, (requests, server.size())]


def _question(number: int) -> tuple[str, bytes, str]:
    """One after the other each endpoint, with texts of 1 to 200 words, mostly short."""
    chance = random.Random(number)
    path = [*BODIES][number % len(BODIES)]
    more = " ".join(chance.choices(WORDS, k=int(200 ** chance.random())))
    return path, *content_of(path, _longer(BODIES[path], f" {more}"))


def _longer(value: Any, more: str) -> Any:
    """The same with more words after each text; what stands at places of a text stays where it is."""
    if isinstance(value, dict):
        return {name: one if name in NAMES else _longer(one, more) for name, one in value.items()}
    if isinstance(value, list):
        return [_longer(one, more) for one in value]
    return value + more if isinstance(value, str) else value


def _slope(sizes: list[tuple[int, Size]], name: str) -> float:
    numbers, values = zip(*((number, getattr(size, name)) for number, size in sizes), strict=True)
    return round(float(np.polyfit(numbers, values, 1)[0]) * 10_000, 3)


if __name__ == "__main__":
    main()
