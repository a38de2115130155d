"""The books of a corpus: what was read is kept, dropped for a reason that is counted, or quarantined.

Every shard keeps its own; the books of the whole are the sum, whoever made the shards and in whatever order.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from lathe.core.keyed import word
from lathe.core.types import Document
from lathe.corpus.census import Census
from lathe.corpus.protocol import Changed, Dropped, Noted, Verdict

SAMPLES = 5
"""Dropped documents of each reason that are shown."""

KEPT_SAMPLES = 20
"""Kept documents that are shown."""
LISTED = 1000
"""Dropped documents of each reason that are shown where it is said what they have in common with something else."""

SHOWN = 300
"""Characters of a document that are shown."""


class Sample(NamedTuple):
    """A document that is shown: those whose ids hash lowest, which is chance, but the same in every run."""

    order: int
    id: str
    text: str
    twin: str | int | None
    twin_text: str = ""  # where the twin is a document of this corpus
    overlap: str = ""

    @classmethod
    def of(cls, dropped: Dropped) -> Self:
        document = dropped.document
        order = word(f"sample/{document.id}")
        return cls(order, document.id, document.text[:SHOWN], dropped.twin, overlap=dropped.overlap[:SHOWN])

    @classmethod
    def of_kept(cls, document: Document) -> Self:
        return cls(word(f"sample/{document.id}"), document.id, document.text[:SHOWN], None)

    @property
    def key(self) -> tuple[int, str, str, str]:
        """Twins of several kinds cannot be compared, their texts can."""
        return self.order, self.id, self.text, str(self.twin)


@dataclass
class Ledger:
    """Counts of documents, and a few of those that were dropped."""

    read: int = 0
    kept: int = 0
    quarantined: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> documents
    dropped_by: Counter[str] = field(default_factory=Counter)  # kind of the step, or "source" -> documents
    changed: Counter[str] = field(default_factory=Counter)  # what was done to texts that stay -> times
    noted: dict[str, Counter[str]] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)  # reason -> the lowest
    before: Census = field(default_factory=Census)  # of what could be read
    after: Census = field(default_factory=Census)  # of what is in the corpus, once it is
    kept_samples: list[Sample] = field(default_factory=list)  # of the same

    def through(self, step: str, verdicts: Iterable[Verdict]) -> Iterator[Document]:
        """The documents that a step leaves; the others are entered in the books, and so are changes."""
        for verdict in verdicts:
            if isinstance(verdict, Document):
                yield verdict
            elif isinstance(verdict, Changed):
                self.changed.update(verdict.counts)
                yield verdict.document
            else:
                self.drop(verdict, step)

    def drop(self, dropped: Dropped, step: str) -> None:
        self.dropped[dropped.reason] += 1
        self.dropped_by[step] += 1
        sample = Sample.of(dropped)
        held = self.samples.get(dropped.reason, [])
        if len(held) < _most(sample) or sample.key < held[-1].key:
            self.samples[dropped.reason] = _lowest([*held, sample])

    def finish(self, documents: Sequence[Document], tokenizer: Path | None) -> None:
        """Enter what is in the corpus."""
        self.after = Census.of(documents, tokenizer)
        self.kept_samples = _lowest(map(Sample.of_kept, documents), KEPT_SAMPLES)

    def note(self, noted: Noted) -> None:
        self.noted.setdefault(noted.subject, Counter())[noted.value] += noted.count

    def add(self, other: "Ledger") -> None:
        """Take in the books of another shard."""
        self.read += other.read
        self.kept += other.kept
        self._add_counts(other)

    def follow(self, other: "Ledger") -> None:
        """Take in the books of what was done afterwards with the documents kept here.

        Raises ``RuntimeError`` where those are not the documents that were kept.
        """
        if other.read != self.kept:
            raise RuntimeError(f"{self.kept} documents were kept, and {other.read} of them came to the next steps")
        self.kept = other.kept
        self._add_counts(other)

    def _add_counts(self, other: "Ledger") -> None:
        self.quarantined += other.quarantined
        self.dropped.update(other.dropped)
        self.dropped_by.update(other.dropped_by)
        self.changed.update(other.changed)
        for subject, counts in other.noted.items():
            self.noted.setdefault(subject, Counter()).update(counts)
        for reason, samples in other.samples.items():
            self.samples[reason] = _lowest([*self.samples.get(reason, []), *samples])
        self.before.add(other.before)
        self.after.add(other.after)
        self.kept_samples = _lowest([*self.kept_samples, *other.kept_samples], KEPT_SAMPLES)

    def check(self) -> None:
        """Raises ``RuntimeError`` when a step has lost or made up documents."""
        if self.read != self.kept + self.dropped.total() + self.quarantined:
            raise RuntimeError(f"the books do not balance: {self.summary()}")

    def summary(self) -> str:
        """One line for people."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.dropped.items()))
        why = f" ({reasons})" if reasons else ""
        dropped = f"{self.dropped.total():,} dropped{why}"
        return f"{self.read:,} documents read = {self.kept:,} kept + {dropped} + {self.quarantined:,} quarantined"

    def scores(self) -> dict[str, Any]:
        counted = {"read": self.read, "kept": self.kept, "quarantined": self.quarantined}
        others = {"dropped": self.dropped, "changed": self.changed} | self.noted
        by_value = {name: dict(sorted(counts.items())) for name, counts in sorted(others.items())}
        return counted | by_value | {"before": self.before.to_json(), "after": self.after.to_json()}

    def sample_lines(self) -> Iterator[str]:
        """The samples as JSON lines, so that the rules can be judged."""
        for reason, samples in sorted(self.samples.items()):
            for sample in samples:
                twin = {"twin": sample.twin} if sample.twin is not None else {}
                others = {"twin_text": sample.twin_text, "overlap": sample.overlap}
                told = {name: text for name, text in others.items() if text}
                values = {"reason": reason, "id": sample.id} | twin | {"text": sample.text} | told
                yield json.dumps(values, ensure_ascii=False) + "\n"

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"before": self.before.to_json(), "after": self.after.to_json()}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        counters = {name: Counter(values[name]) for name in ("dropped", "dropped_by", "changed")}
        noted = {subject: Counter(counts) for subject, counts in values["noted"].items()}
        samples = {reason: [Sample(*sample) for sample in found] for reason, found in values["samples"].items()}
        kept = [Sample(*sample) for sample in values["kept_samples"]]
        counts = {name: Census.of_json(values[name]) for name in ("before", "after")}
        return cls(**values | counters | counts | {"noted": noted, "samples": samples, "kept_samples": kept})


def _lowest(samples: Iterable[Sample], most: int | None = None) -> list[Sample]:
    found = list(samples)
    most = max(map(_most, found), default=0) if most is None else most
    return heapq.nsmallest(most, found, key=lambda sample: sample.key)


def _most(sample: Sample) -> int:
    """How many are shown of what has the same reason."""
    return LISTED if sample.overlap else SAMPLES
