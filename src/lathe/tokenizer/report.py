"""The report of a tokenizer: candidates side by side on the same text, one page that stands alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from lathe.core.charts import Bar, Unit, interval_bars
from lathe.core.html import Column, Section, facts, figure, page, table

Measures = Mapping[str, Mapping[str, Any]]
"""Name of a candidate -> what `lathe.tokenizer.stage.measure` found, with its ``vocab_size``."""


def report(measures: Measures, share: Mapping[str, float], train: str) -> str:
    """A whole HTML document; the first candidate is the one that was made."""
    name, chosen = next(iter(measures.items()))
    overall = chosen["overall"]
    lead = f"{name}: {chosen['vocab_size']:,} pieces, {overall['bytes_per_token']:.2f} bytes a token on held-out text."
    learnt = [
        ("text", train),
        ("there was", f"{share['of_mb']:,.1f} MB"),
        ("learnt from", f"{share['mb']:,.1f} MB, {share['ratio']:.1%} of it, chosen by a hash of the text"),
        ("held out", f"{overall['texts']:,} texts, the same for every candidate"),
    ]
    if "left_out_words" in share:
        words = f"{share['left_out_words']:,} rare words, {share['left_out_ratio']:.1%} of all: more would not fit"
        learnt.append(("without", words))
    sections = [Section("Side by side", [_overall(measures), *_drawn(measures)])]
    for heading, group in (("Language", "languages"), ("Script", "held_out")):
        names = dict.fromkeys(name for one in measures.values() for name in one[group])
        if names:
            sections.append(Section(f"Tokens a word, by {heading.lower()}", [_fertility(measures, group, list(names))]))
        sections += [Section(f"{heading}: {name}", [_of_kind(measures, group, name)]) for name in names]
    return page("Tokenizer", [*sections, Section("What it was learnt from", [facts(learnt)])], lead)


def _overall(measures: Measures) -> str:
    names = ["pieces", "bytes a token", "tokens a word", "coverage", "texts restored", "random Unicode restored"]
    rows = [
        [name, f"{one['vocab_size']:,}", *_ratios(one["overall"]), f"{one['random_unicode_restored_ratio']:.1%}"]
        for name, one in measures.items()
    ]
    return table([Column("tokenizer"), *(Column(name, "end") for name in names)], rows, strong=[0])


def _drawn(measures: Measures) -> Sequence[str]:
    values = {name: one["overall"]["bytes_per_token"] for name, one in measures.items()}
    bars = [Bar(name, value) for name, value in values.items()]
    return [
        figure(interval_bars(bars, "bytes a token", Unit(decimals=2)), "More bytes a token make shorter rows."),
        "A word of a script without spaces between words is a character. Coverage is the share of characters that are "
        "in no unknown token; a text is restored when its tokens give it back character by character.",
    ]


def _fertility(measures: Measures, group: str, kinds: Sequence[str]) -> str:
    """Kinds of text down, tokenizers across."""
    rows = [
        [kind, *(f"{one[group][kind]['fertility']:.2f}" if kind in one[group] else "" for one in measures.values())]
        for kind in kinds
    ]
    return table([Column(""), *(Column(name, "end") for name in measures)], rows)


def _of_kind(measures: Measures, group: str, kind: str) -> str:
    names = ["bytes a token", "tokens a word", "coverage", "texts restored"]
    rows = [[name, *_ratios(one[group][kind])] for name, one in measures.items() if kind in one[group]]
    return table([Column("tokenizer"), *(Column(name, "end") for name in names)], rows, strong=[0])


def _ratios(fit: Mapping[str, Any]) -> list[str]:
    return [
        f"{fit['bytes_per_token']:.2f}",
        f"{fit['fertility']:.2f}",
        f"{fit['coverage']:.3%}",
        f"{fit['restored_ratio']:.1%}",
    ]
