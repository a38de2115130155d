"""The report of a corpus: what came in, what each step did to it, what is left, and samples to judge the rules by."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lathe.core.charts import Bar, Columns, column_chart, interval_bars
from lathe.core.html import Column, Html, Section, details, facts, figure, page, table
from lathe.corpus.census import Census
from lathe.corpus.ledger import Ledger, Sample
from lathe.corpus.segments import SOURCE

MOST_BARS = 12
"""Reasons and the like that are drawn; the tables have all."""

MOST_SAMPLES = 20
"""Dropped documents of each reason that are shown; ``dropped.jsonl`` has all samples."""


def report(
    ledger: Ledger, steps: Sequence[str], told: Mapping[str, Mapping[str, Any]], splits: Mapping[str, Mapping[str, int]]
) -> str:
    """A whole HTML document. ``steps``: their kinds, in order; ``told``: what the global ones tell of themselves."""
    lead = f"{ledger.kept:,} of {ledger.read:,} documents are kept, {ledger.after.bytes / 1e6:,.1f} MB of text."
    sections = [
        Section("Before and after", [_amounts(ledger), _split_table(splits)]),
        Section("Step by step", _steps(ledger, steps)),
    ]
    if ledger.dropped:
        sections.append(Section("Why documents were dropped", _reasons(ledger)))
    sections.append(Section("Lengths", _lengths(ledger.before, ledger.after)))
    sections.append(Section("Scripts and languages", _languages(ledger.before, ledger.after)))
    if ledger.changed or ledger.noted:
        sections.append(Section("Noted on the way", list(_noted(ledger))))
    sections += [Section(kind.replace("_", " ").capitalize(), _told(values)) for kind, values in told.items()]
    sections.append(Section("Samples of what was kept", [_shown(ledger.kept_samples)]))
    if ledger.samples:
        sections.append(Section("Samples of what was dropped", list(_dropped(ledger))))
    return page("Corpus", sections, lead)


def _amounts(ledger: Ledger) -> Html:
    before, after = ledger.before, ledger.after
    rows = [
        _row("documents", before.documents, after.documents),
        _row("bytes", before.bytes, after.bytes),
        _row("characters", before.characters, after.characters),
        *([_row("tokens", before.tokens, after.tokens)] if before.tokens else []),
        _row("characters a document", _mean(before), _mean(after))[:3] + [""],
        _row("longest, in characters", before.longest, after.longest)[:3] + [""],
    ]
    if ledger.quarantined:
        rows.append(["not readable (quarantine.jsonl)", f"{ledger.quarantined:,}", "", ""])
    return table([Column(""), *(Column(name, "end") for name in ("before", "after", "left"))], rows)


def _split_table(splits: Mapping[str, Mapping[str, int]]) -> Html:
    names = ["documents", "bytes", "characters"]
    rows = [[split, *(f"{size[name]:,}" for name in names)] for split, size in splits.items()]
    return table([Column("split"), *(Column(name, "end") for name in names)], rows)


def _steps(ledger: Ledger, steps: Sequence[str]) -> list[str]:
    """What goes in and what comes out, step by step; a kind that stands twice has one row."""
    left, rows = ledger.read - ledger.quarantined, list[list[str]]()
    bars = [Bar("read", left)]
    for kind in dict.fromkeys((SOURCE, *steps)):
        dropped = ledger.dropped_by[kind]
        if kind == SOURCE and not dropped:
            continue
        rows.append([kind, f"{left:,}", f"{dropped:,}", _share(dropped, left)])
        left -= dropped
        bars.append(Bar(kind, left))
    columns = [Column("step"), *(Column(name, "end") for name in ("documents in", "dropped", "share"))]
    drawn = figure(interval_bars(bars, "documents left"), "Documents that are left after each step.")
    return [drawn, table(columns, rows)]


def _reasons(ledger: Ledger) -> list[str]:
    most = ledger.dropped.most_common()
    bars = [Bar(_short(reason), count) for reason, count in most[:MOST_BARS]]
    rows = [[reason, f"{count:,}", _share(count, ledger.dropped.total())] for reason, count in most]
    columns = [Column("reason"), Column("documents", "end"), Column("share of the dropped", "end")]
    return [figure(interval_bars(bars, "documents"), "What was dropped, by reason."), table(columns, rows)]


def _lengths(before: Census, after: Census) -> list[str]:
    found = sorted(map(int, before.lengths | after.lengths))
    classes = [str(length) for length in found if not length] + _between(found[0] or 1, found[-1])
    names = [_brief(int(name)) for name in classes]
    columns = [Columns(name, [c.lengths[k] for k in classes]) for name, c in (("before", before), ("after", after))]
    drawn = column_chart(names, columns, "characters, at least", "documents")
    return [figure(drawn, "Documents by length. Each class begins at the length under it and ends at the next.")]


def _between(first: int, last: int) -> list[str]:
    """Powers of two, both ends included; none where the last class is the one of empty texts."""
    return [str(1 << power) for power in range(first.bit_length() - 1, last.bit_length())]


def _languages(before: Census, after: Census) -> list[str]:
    content: list[str] = [
        _compared("script", "characters", before.scripts, after.scripts),
        "The script of a document is the one that most letters at its beginning belong to.",
    ]
    if before.languages or after.languages:
        content += [
            _compared("language", "documents", before.languages, after.languages),
            "Languages of documents that name theirs, or that a step has given one.",
        ]
    return content


def _compared(name: str, unit: str, before: Counter[str], after: Counter[str]) -> Html:
    order = [key for key, _ in (before | after).most_common()]
    rows = [[*_row(key, before[key], after[key])[:3], _share(after[key], after.total())] for key in order]
    heads = (f"{unit} before", "after", "share after")
    return table([Column(name), *(Column(head, "end") for head in heads)], rows)


def _noted(ledger: Ledger) -> Iterator[Html]:
    subjects = {"changed": ledger.changed} if ledger.changed else {}
    for subject, counts in (subjects | ledger.noted).items():
        rows = [[value, f"{count:,}"] for value, count in counts.most_common()]
        yield table([Column(subject), Column("times", "end")], rows)


def _told(values: Mapping[str, Any]) -> list[str]:
    """Whatever a step tells: numbers as facts, what has parts as a table."""
    single = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    content: list[str] = [facts([(name.replace("_", " "), _text(value)) for name, value in single.items()])]
    for name, parts in values.items():
        if isinstance(parts, Mapping):
            rows = [[str(part), _text(value)] for part, value in parts.items()]
            content.append(table([Column(name.replace("_", " ")), Column("count", "end")], rows))
    return content


def _dropped(ledger: Ledger) -> Iterator[Html]:
    for reason, samples in sorted(ledger.samples.items()):
        yield details(f"{reason}: {ledger.dropped[reason]:,} documents", _shown(samples[:MOST_SAMPLES]))


def _shown(samples: Sequence[Sample]) -> Html:
    has_twins = any(sample.twin is not None for sample in samples)
    columns = [Column("document"), Column("how it begins"), *([Column("repeats")] if has_twins else [])]
    rows = [[s.id, s.text, *([str(s.twin or "")] if has_twins else [])] for s in samples]
    return table(columns, rows)


def _row(name: str, before: float, after: float) -> list[str]:
    return [name, f"{before:,.0f}", f"{after:,.0f}", _share(after, before)]


def _mean(census: Census) -> float:
    return census.characters / max(census.documents, 1)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _brief(count: int) -> str:
    """A power of two in few letters: 512, 1k, 2M."""
    for letter, factor in (("M", 2**20), ("k", 2**10)):
        if count >= factor:
            return f"{count // factor}{letter}"
    return str(count)


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
