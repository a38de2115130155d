"""The books of a corpus: every document that was read is kept, or dropped for a reason that is counted."""

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lathe.core.keyed import word
from lathe.core.types import Document
from lathe.corpus.clean import Dropped, Verdict

SAMPLES = 5
"""Dropped documents of each reason that are shown."""

SHOWN = 300
"""Characters of a dropped document that are shown."""


@dataclass
class Ledger:
    """Counts what streams past it."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    _samples: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def opened(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Count documents on their way in."""
        for document in documents:
            self.read += 1
            yield document

    def closed(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Count documents on their way out."""
        for document in documents:
            self.kept += 1
            yield document

    def through(
        self, step: Callable[[Iterable[Document]], Iterable[Verdict]], documents: Iterable[Document]
    ) -> Iterator[Document]:
        """What ``step`` leaves in the stream; the rest is entered in the books."""
        for verdict in step(documents):
            if isinstance(verdict, Dropped):
                self._enter(verdict)
            else:
                yield verdict

    def check(self) -> None:
        """Raises ``RuntimeError`` when a step has lost or made up documents."""
        dropped = self.dropped.total()
        if self.read != self.kept + dropped:
            raise RuntimeError(f"{self.read} documents read, but {self.kept} kept + {dropped} dropped")

    def summary(self) -> str:
        """One line for people."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.dropped.items()))
        why = f" ({reasons})" if reasons else ""
        return f"{self.read:,} documents read = {self.kept:,} kept + {self.dropped.total():,} dropped{why}"

    def scores(self) -> dict[str, Any]:
        return {"read": self.read, "kept": self.kept, "dropped": dict(sorted(self.dropped.items()))}

    def write_samples(self, file: Path) -> None:
        """A few dropped documents of each reason, so that the rules can be judged; JSON lines."""
        lines = [line for reason in sorted(self._samples) for _, line in sorted(self._samples[reason], reverse=True)]
        file.write_text("".join(lines), encoding="utf-8")

    def _enter(self, dropped: Dropped) -> None:
        """The samples are those whose ids hash lowest: chance, but the same in every run."""
        self.dropped[dropped.reason] += 1
        samples = self._samples.setdefault(dropped.reason, [])
        entry = (-word(f"sample/{dropped.document.id}"), _line(dropped))
        (heapq.heappush if len(samples) < SAMPLES else heapq.heappushpop)(samples, entry)


def _line(dropped: Dropped) -> str:
    document = dropped.document
    twin = {"twin": dropped.twin} if dropped.twin is not None else {}
    values = {"reason": dropped.reason, "id": document.id} | twin | {"text": document.text[:SHOWN]}
    return json.dumps(values, ensure_ascii=False) + "\n"
