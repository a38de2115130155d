"""Records of feedback and figures of requests in a database.

What is written is there after the power has failed, too. Several processes may write to one store. The only file that
imports SQLAlchemy.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import sqlalchemy as sql
from sqlalchemy import exc

from lathe.core.errors import LatheError

VERSION = 1
BUSY_S = 10.0
"""So long a process waits for another that writes."""
DAY_S = 86_400

Outcome: TypeAlias = Literal["stored", "same", "other", "full"]
"""Of a record to be written: it is new, it was there, another one has its id, or there is no room."""

_META = sql.MetaData()
_ABOUT = sql.Table("about", _META, sql.Column("version", sql.Integer, nullable=False))
_FEEDBACK = sql.Table(
    "feedback",
    _META,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(64), nullable=False, unique=True),
    sql.Column("at_s", sql.Float, nullable=False, index=True),
    sql.Column("task", sql.String(32), nullable=False),
    sql.Column("model", sql.String(128), nullable=False),
    sql.Column("rating", sql.Integer),
    sql.Column("by", sql.String(64), nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("content", sql.Text, nullable=False),  # JSON in ASCII: any text fits any database
    sqlite_autoincrement=True,  # a number is never given twice, so that who pages misses nothing
)
_REQUESTS = sql.Table(
    "requests",
    _META,
    sql.Column("at_s", sql.Float, nullable=False, index=True),
    sql.Column("id", sql.String(64), nullable=False),
    sql.Column("route", sql.String(128), nullable=False),
    sql.Column("model", sql.String(128), nullable=False),
    sql.Column("status", sql.Integer, nullable=False),
    sql.Column("ms", sql.Float, nullable=False),
    sql.Column("rows", sql.Integer, nullable=False),
    sql.Column("tokens", sql.Integer, nullable=False),
    sql.Column("by", sql.String(64), nullable=False),
)


class StoreError(LatheError):
    """The store cannot be read or written now. Tells neither a text nor the address, which may hold a password."""


@dataclass(frozen=True)
class Record:
    """What one person said of one answer."""

    id: str
    task: str
    model: str  # name@version
    row: Mapping[str, Any]
    prediction: Any = None
    correction: Mapping[str, Any] | None = None
    rating: int | None = None
    note: str | None = None
    request_id: str | None = None
    by: str = ""  # name of the key
    at_s: float = 0.0  # since 1970
    number: int = 0  # given by the store

    @property
    def content(self) -> str:
        """All but the id, the key and the time, as JSON. Raises ``ValueError`` for what is no JSON, such as NaN."""
        said = [self.task, self.model, self.row, self.prediction, self.correction, self.rating, self.note]
        return json.dumps([*said, self.request_id], sort_keys=True, allow_nan=False)

    @classmethod
    def of(cls, line: Any) -> "Record":
        task, model, row, prediction, correction, rating, note, request_id = json.loads(line.content)
        said = cls(line.id, task, model, row, prediction, correction, rating, note, request_id)
        return cls(**vars(said) | {"by": line.by, "at_s": line.at_s, "number": line.number})


class Store:
    """A file, or the URL of a database."""

    def __init__(self, place: str, most_bytes: int | None = None) -> None:
        """Raises ``StoreError`` where it cannot be opened, or is of a newer version."""
        self.is_file = "://" not in place
        self.most_bytes = most_bytes
        with _told("open"):
            if self.is_file:
                os.close(os.open(place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            url = sql.URL.create("sqlite", database=str(Path(place).resolve())) if self.is_file else place
            self._engine = sql.create_engine(url, hide_parameters=True)
            self.is_file = self._engine.dialect.name == "sqlite"
            if self.is_file:
                sql.event.listen(self._engine, "connect", _prepare)
                sql.event.listen(self._engine, "begin", _begin)
            with self._writing() as link:
                self._create(link)

    def close(self) -> None:
        self._engine.dispose()

    def add(self, records: Sequence[Record]) -> list[Outcome]:
        """Write records in one transaction, each once; when this returns, they stay."""
        for _ in range(3):
            try:
                with _told("write"), self._writing() as link:
                    return self._add(link, records)
            except exc.IntegrityError:  # another process wrote one of them meanwhile
                continue
        raise StoreError("the store cannot be written: several processes write the same records")

    def delete(self, id: str) -> bool:
        """Whether there was such a record; of an SQLite file its bytes are overwritten, too."""
        with _told("write"):
            with self._writing() as link:
                gone = link.execute(_FEEDBACK.delete().where(_FEEDBACK.c.id == id)).rowcount
            self._tidy(gone)
        return bool(gone)

    def purge(self, keep_days: float, now_s: float | None = None) -> int:
        """Delete what is older, of feedback and of requests; how many records of feedback that were."""
        before_s = (time.time() if now_s is None else now_s) - keep_days * DAY_S
        with _told("write"):
            with self._writing() as link:
                gone: int = link.execute(_FEEDBACK.delete().where(_FEEDBACK.c.at_s < before_s)).rowcount
                others = link.execute(_REQUESTS.delete().where(_REQUESTS.c.at_s < before_s)).rowcount
            self._tidy(gone + others)
        return gone

    def page(
        self, task: str | None = None, model: str | None = None, after: int = 0, limit: int = 100, since_s: float = 0
    ) -> list[Record]:
        """Records in the order in which they came; the number of the last is where the next page begins."""
        found = sql.select(_FEEDBACK).where(_FEEDBACK.c.number > after, _FEEDBACK.c.at_s >= since_s)
        if task is not None:
            found = found.where(_FEEDBACK.c.task == task)
        if model is not None:
            found = found.where(
                sql.or_(_FEEDBACK.c.model == model, _FEEDBACK.c.model.startswith(model + "@", autoescape=True))
            )
        with _told("read"), self._engine.connect() as link:
            return [Record.of(line) for line in link.execute(found.order_by(_FEEDBACK.c.number).limit(limit))]

    def summary(self) -> list[dict[str, Any]]:
        """How many records there are of each task, model and rating."""
        by = (_FEEDBACK.c.task, _FEEDBACK.c.model, _FEEDBACK.c.rating)
        with _told("read"), self._engine.connect() as link:
            lines = link.execute(sql.select(*by, sql.func.count().label("records")).group_by(*by).order_by(*by))
            return [dict(line._mapping) for line in lines]

    def note(self, requests: Sequence[Mapping[str, Any]]) -> None:
        """Write figures of requests."""
        with _told("write"), self._writing() as link:
            link.execute(_REQUESTS.insert(), [dict(one) for one in requests])

    def requests(self) -> list[dict[str, Any]]:
        with _told("read"), self._engine.connect() as link:
            return [dict(line._mapping) for line in link.execute(sql.select(_REQUESTS).order_by(_REQUESTS.c.at_s))]

    def _writing(self) -> Any:
        return self._engine.execution_options(writes=True).begin()

    def _create(self, link: sql.Connection) -> None:
        _META.create_all(link)
        found = link.execute(sql.select(_ABOUT.c.version)).scalars().first()
        if found is None:
            link.execute(_ABOUT.insert().values(version=VERSION))
        elif found > VERSION:
            raise StoreError(f"the store is of version {found}, this Lathe knows {VERSION}; use a newer Lathe")

    def _add(self, link: sql.Connection, records: Sequence[Record]) -> list[Outcome]:
        asked = sql.select(_FEEDBACK.c.id, _FEEDBACK.c.digest).where(_FEEDBACK.c.id.in_([one.id for one in records]))
        known = {line.id: line.digest for line in link.execute(asked)}
        is_full, lines, told = self._is_full(link), list[dict[str, Any]](), list[Outcome]()
        for one in records:
            content = one.content
            digest = hashlib.sha256(content.encode()).hexdigest()
            if one.id in known:
                told.append("same" if known[one.id] == digest else "other")
            elif is_full:
                told.append("full")
            else:
                known[one.id] = digest
                kept = {name: getattr(one, name) for name in ("id", "at_s", "task", "model", "rating", "by")}
                lines.append(kept | {"digest": digest, "content": content})
                told.append("stored")
        if lines:
            link.execute(_FEEDBACK.insert(), lines)
        return told

    def _is_full(self, link: sql.Connection) -> bool:
        """Whether an SQLite file holds as much as it may; other databases have limits of their own."""
        if not self.is_file or self.most_bytes is None:
            return False
        pages, free, size = (
            int(link.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size >= self.most_bytes

    def _tidy(self, gone: int) -> None:
        """Let nothing of what was deleted stand in the log of an SQLite file."""
        if self.is_file and gone:
            link = self._engine.raw_connection()
            try:
                for _ in range(20):
                    row = link.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    if not row or not row[0]:
                        return
                    time.sleep(0.05)
            finally:
                link.close()


class _told:  # noqa: N801 (read like a function: with _told("write"))
    """What a database says, without the statement, its values and the address."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, exc.IntegrityError):
            return
        if isinstance(error, exc.DBAPIError) and error.orig is not None:
            reason = getattr(error.orig, "sqlite_errorname", type(error.orig).__name__)
            raise StoreError(f"the store cannot be {_DONE[self.what]}: {reason}; is its disk full?") from None
        if isinstance(error, exc.SQLAlchemyError | OSError | ModuleNotFoundError):
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            raise StoreError(f"the store cannot be {_DONE[self.what]}: {reason}; give a file, or a URL") from None


_DONE = {"open": "opened", "write": "written", "read": "read"}


def _prepare(link: Any, _: Any) -> None:
    link.isolation_level = None  # transactions are begun below
    link.execute(f"PRAGMA busy_timeout={1000 * BUSY_S:.0f}")
    for line in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        link.execute(f"PRAGMA {line}")


def _begin(link: sql.Connection) -> None:
    """Who is going to write takes the right to at once: two that read first would wait for each other."""
    link.exec_driver_sql("BEGIN IMMEDIATE" if link.get_execution_options().get("writes") else "BEGIN")
