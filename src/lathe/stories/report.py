"""The report of quickstart: what was made, how good it is beside its baselines, and how it came about."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lathe.core.bundle import Bundle
from lathe.core.charts import (
    PERCENT,
    Bar,
    Bubble,
    Reference,
    Series,
    bubble_chart,
    heat_map,
    interval_bars,
    line_chart,
    smooth,
)
from lathe.core.html import Column, Html, Section, bullets, code, details, element, facts, figure, page, table
from lathe.core.runtime import versions
from lathe.core.work import read_log
from lathe.stories.comparison import Comparison, Difference, Example, Result

NAME = "report.html"
LONGEST_TEXT = 1200  # characters of an example
TITLE = "Which library does this text document?"


def write_report(
    out: Path, bundles: Mapping[str, Bundle], compared: Comparison, plan: Mapping[str, Any], commands: Sequence[str]
) -> Path:
    """``out/report.html``, made anew from what the stages have left."""
    sections = [
        Section("The models", list(models(compared))),
        Section("Pretraining", list(pretraining(bundles["encoder"]))),
        Section("Fine-tuning", list(fine_tuning(bundles))),
        Section("What the result confuses", list(confusions(compared))),
        Section("Examples from the test rows", list(examples(compared))),
        Section("The text", list(text(bundles["corpus"]))),
        Section("Lineage", list(lineage(out, bundles, plan))),
        Section("Use it", [code(f"{commands[0]}\n\n# from another terminal\n{commands[1]}")]),
        Section("The machine", [facts(versions().items())]),
    ]
    file = out / NAME
    file.write_text(page(TITLE, sections, lead(compared, plan)), encoding="utf-8")
    return file


def terminal_table(compared: Comparison) -> str:
    """The same figures as plain text, with the verdicts."""
    rows = [HEAD, *(model_row(result) for result in compared.results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join([f"\n{compared.rows:,} test rows", *lines, "", *map(verdict, compared.differences)])


def lead(compared: Comparison, plan: Mapping[str, Any]) -> str:
    """What most readers want to know, the baseline with it."""
    result, baseline = compared.results[-1], compared.results[0]
    minutes = sum(plan["seconds"].values()) / 60
    return (
        f"A model of {mega(result.size_bytes)} MB, made on this machine in {minutes:.1f} minutes, names the right one "
        f"of {len(compared.labels)} libraries for {percent(result.accuracy.value)} of {compared.rows:,} texts it has "
        f"not seen, in {result.speed.p50_ms:.1f} ms each. {baseline.group} reaches {percent(baseline.accuracy.value)} "
        f"with {mega(baseline.size_bytes)} MB."
    )


# ---- sections

HEAD = ("model", "accuracy", "95 % interval", "macro F1", "MB", "ms a text", "texts/s")


def models(compared: Comparison) -> Iterator[str]:
    columns = [Column(name, "end" if index else "start") for index, name in enumerate(HEAD)]
    yield table(columns, [model_row(result) for result in compared.results], strong=[len(compared.results) - 1])
    yield bullets([*map(verdict, compared.differences), *map(repeated, several(compared))])
    bars = [Bar(r.group, *r.accuracy) for r in compared.results]
    caption = f"Accuracy on the same {compared.rows:,} test rows, with 95 % bootstrap intervals over rows."
    yield figure(interval_bars(bars, "accuracy", PERCENT), caption)
    bubbles = [Bubble(r.group, r.speed.p50_ms, r.accuracy.value, r.size_bytes, tip(r)) for r in compared.results]
    yield figure(
        bubble_chart(bubbles, "milliseconds for one text (logarithmic)", "accuracy", PERCENT),
        "Quality against speed: up and to the left is better. The area of a circle is the size of the model's files.",
    )


def pretraining(encoder: Bundle) -> Iterator[str]:
    scores, steps = encoder.manifest.scores, events(encoder, "step")
    measured = [(line["step"], line["loss"]) for line in events(encoder, "evaluation")]
    curves = [Series("training", loss_curve(encoder))] + ([Series("held out", measured)] if len(measured) > 1 else [])
    entropy, tokens = scores["unigram_entropy"], sum(line["tokens"] for line in steps)
    yield (
        f"A new network learnt to fill in masked tokens for {sum(line['seconds'] for line in steps):.0f} s: "
        f"{len(steps):,} steps, {tokens:,} tokens, {encoder.manifest.rates['tokens_per_second']:,.0f} tokens a second."
    )
    if "validation_loss" in scores:
        loss = scores["validation_loss"]
        distance = f"{abs(entropy - loss):.2f} {'below' if loss < entropy else 'above'} the {entropy:.2f}"
        yield (
            f"On held-out text it ends at {loss:.2f} nats a masked token, {distance} of a model that knows nothing but "
            "how frequent each token is."
        )
    drawn = line_chart(curves, "steps", "nats a masked token", [Reference("unigram entropy", entropy)])
    yield figure(drawn, "Loss of the masked language model.")


def fine_tuning(bundles: Mapping[str, Bundle]) -> Iterator[str]:
    names = {"classifier": "pretrained", "untrained-0": "not pretrained"}
    curves = [Series(label, loss_curve(bundles[name])) for name, label in names.items()]
    yield "The same network, the same rows, the same steps, once from the pretrained weights and once from new ones."
    yield figure(line_chart(curves, "steps", "nats a text"), "Training loss of the classifier.")


def confusions(compared: Comparison) -> Iterator[str]:
    yield f"The last model of the table on the test rows. {worst(compared)}"
    yield heat_map(compared.labels, compared.confusion)


def examples(compared: Comparison) -> Iterator[str]:
    yield "From the most to the least certain answer of the last model; none is picked by hand."
    for heading, chosen in (("Right", compared.right), ("Wrong", compared.wrong)):
        yield element("h3", {}, heading)
        for example in chosen:
            yield details(summary_of(example), element("pre", {"tabindex": 0}, shortened(example.text)))


def text(corpus: Bundle) -> Iterator[str]:
    scores = corpus.manifest.scores
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in scores["dropped"].items()) or "none"
    yield (
        "The documentation strings of the Python standard library and of the installed packages: "
        f"{scores['read']:,} read, {scores['kept']:,} kept; dropped: {dropped}."
    )
    splits = [[name, f"{size['documents']:,}", mega(size["bytes"])] for name, size in scores["splits"].items()]
    yield table([Column("split"), Column("documents", "end"), Column("MB", "end")], splits)
    yield (
        "Labelled rows: which library a text documents. A module is whole in one split, the names of the libraries are "
        "masked, and near duplicates are left out."
    )
    labelled = scores["labelled"]
    names = sorted({label for counts in labelled.values() for label in counts})
    rows = [[label, *(f"{counts.get(label, 0):,}" for counts in labelled.values())] for label in names]
    yield table([Column("library"), *(Column(name, "end") for name in labelled)], rows)


def lineage(out: Path, bundles: Mapping[str, Bundle], plan: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, bundle in bundles.items():
        sources = ", ".join(path.removeprefix(f"{out}/") for path in bundle.manifest.inputs)
        rows.append(
            [
                name,
                bundle.manifest.stage,
                sources,
                f"{plan['seconds'][name]:,.1f}",
                element("code", {}, bundle.digest[:12]),
            ]
        )
    yield table([Column("folder"), Column("made by"), Column("from"), Column("s", "end"), Column("sha256")], rows)
    yield "The manifest of each folder has its whole recipe, the digests of its files and inputs, and its scores."


# ---- words and numbers


def model_row(result: Result) -> tuple[str, ...]:
    value, low, high = result.accuracy
    return (
        result.group,
        percent(value),
        f"{100 * low:.1f} to {100 * high:.1f}",
        percent(result.macro_f1.value),
        mega(result.size_bytes),
        f"{result.speed.p50_ms:.2f}",
        f"{result.speed.rows_per_second:,.0f}",
    )


def verdict(difference: Difference) -> str:
    """Who is better, or that it cannot be told."""
    value, low, high = (100 * number for number in difference.score)
    old, new = difference.old, difference.new
    if low <= 0 <= high:
        interval = f"{signed(value)} points (95 % interval {signed(low)} to {signed(high)})"
        return f"{capital(new)} and {old} cannot be told apart: {interval}."
    better, worse = (new, old) if low > 0 else (old, new)
    nearest, farthest = sorted((abs(low), abs(high)))
    interval = f"{abs(value):.1f} points (95 % interval {nearest:.1f} to {farthest:.1f})"
    return f"{capital(better)} is better than {worse} by {interval}."


def several(compared: Comparison) -> list[Result]:
    return [result for result in compared.results if len(result.accuracies) > 1]


def repeated(result: Result) -> str:
    runs = ", ".join(percent(value) for value in result.accuracies)
    return f"{capital(result.group)}: {len(result.accuracies)} seeds ({runs}); the table shows the middle one."


def worst(compared: Comparison) -> str:
    """The most frequent confusion in words."""
    cells = [
        (count, gold, predicted)
        for gold, row in zip(compared.labels, compared.confusion, strict=True)
        for predicted, count in zip(compared.labels, row, strict=True)
        if gold != predicted
    ]
    count, gold, predicted = max(cells)
    return f"Its most frequent error: {gold} taken for {predicted}, {count} times." if count else "It makes no error."


def events(bundle: Bundle, name: str) -> list[dict[str, Any]]:
    return [line for line in read_log(bundle.path) if line["event"] == name]


def loss_curve(bundle: Bundle) -> list[tuple[float, float]]:
    return smooth([(line["step"], line["loss"]) for line in events(bundle, "step")])


def summary_of(example: Example) -> Html:
    first = next((line.strip() for line in example.text.splitlines() if line.strip()), "")
    said = example.gold if example.gold == example.predicted else f"{example.gold}, taken for {example.predicted}"
    return element("span", {}, element("b", {}, said), f" at {percent(example.confidence)}: {first[:90]}")


def shortened(words: str) -> str:
    return words if len(words) <= LONGEST_TEXT else words[:LONGEST_TEXT] + " …"


def tip(result: Result) -> str:
    return f"{percent(result.accuracy.value)}, {result.speed.p50_ms:.2f} ms, {mega(result.size_bytes)} MB"


def capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def mega(size: float) -> str:
    """Bytes in MB (10^6)."""
    return f"{size / 1e6:.1f}"
