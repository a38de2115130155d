"""What the scripts of this folder share: they run where the clients are installed, and print what these answered."""

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import version
from typing import Any

ADDRESS, NARROW, KEY = sys.argv[1:4]  # a server; one that asks for a key, and lets it ask few rows; that key
TEXT, OTHERS = "in Paris 影片很好", ["bad plot", "很好"]
QUESTION = {"context": "a great film in Paris", "question": "in"}
MESSAGES = [{"role": "user", "content": TEXT}]
MASKED = "a [MASK] film"


def tell(packages: list[str], cases: dict[str, Callable[[], Any]]) -> None:
    """One line of JSON: versions, and of each case what it gave or raised."""
    found = asyncio.run(_outcomes(cases))
    print(json.dumps({"versions": {name: version(name) for name in packages}, "cases": found}))


async def _outcomes(cases: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    return {name: await _outcome(case) for name, case in cases.items()}


async def _outcome(case: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"answer": _plain(await _settled(case()))}
    except Exception as error:  # noqa: BLE001 (what a client raises is what is asked here)
        return {"raised": type(error).__name__, "text": str(error)[:500]}


async def _settled(value: Any) -> Any:
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, AsyncIterator) or hasattr(value, "__aiter__"):
        return [one async for one in value]
    return [*value] if isinstance(value, Iterator) or type(value).__name__ == "Stream" else value


def _plain(value: Any) -> Any:
    """As JSON has it; what is None is left out."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
