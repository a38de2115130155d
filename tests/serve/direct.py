"""An application asked without a network: hundreds of requests a second, for tests that ask everything."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True)
class Reply:
    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class Direct:
    """Asks from any thread; the application runs in the loop."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self.loop = app, loop

    def request(self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        asked = self.ask(method, path, content, headers or {})
        return asyncio.run_coroutine_threadsafe(asked, self.loop).result(60)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    async def ask(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        place, _, query = path.partition("?")
        given = {"host": "localhost", "content-length": str(len(content))} | {**headers}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
            "method": method, "path": unquote(place), "raw_path": place.encode(), "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        }  # fmt: skip
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()  # the client stays

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        told = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:]))


@contextmanager
def direct(app: Any) -> Iterator[Direct]:
    """The application, begun and ended as a server does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    begun, ends = threading.Event(), asyncio.Event()

    async def live() -> None:
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            message = next(messages)
            if message["type"] == "lifespan.shutdown":
                await ends.wait()
            return message

        async def send(_: Any) -> None:
            begun.set()

        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    life = asyncio.run_coroutine_threadsafe(live(), loop)
    try:
        begun.wait(10)
        yield Direct(app, loop)
    finally:
        loop.call_soon_threadsafe(ends.set)
        life.result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
