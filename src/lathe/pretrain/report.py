"""The report of a pretraining run: what it reached beside its baseline, how it went, and what the model writes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lathe.core.charts import Reference, Series, line_chart, smooth
from lathe.core.html import Column, Html, Section, details, element, facts, figure, page, table
from lathe.core.runtime import versions
from lathe.pretrain.evaluation import OLD, VALIDATION, token_loss

NAME = "report.html"
TEXTS = {VALIDATION: "new text", OLD: "old text"}
"""Held-out texts as people call them; the first is that of the run."""


@dataclass(frozen=True)
class Run:
    """What a run has left."""

    model: str  # family and parameters, in words
    objective: str
    scores: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]

    def events(self, name: str) -> list[Mapping[str, Any]]:
        return [line for line in self.log if line["event"] == name]

    def curve(self, event: str, name: str) -> list[tuple[float, float]]:
        """A value by step, of the lines that have it."""
        return [(line["step"], line[name]) for line in self.events(event) if name in line]


def report(run: Run) -> str:
    """A whole HTML document."""
    sections = [Section("What it reached", list(_reached(run))), Section("Loss", list(_loss(run)))]
    if run.curve("evaluation", "bits_per_byte"):
        sections.append(Section("Bits per byte", list(_bits(run))))
    if samples := run.events("samples"):
        sections.append(Section("What it writes", list(_samples(samples))))
    sections.append(Section("Rate of learning and of work", list(_rates(run))))
    return page("Pretraining", [*sections, Section("The machine", [facts(versions().items())])], _lead(run))


def _lead(run: Run) -> str:
    steps = run.events("step")
    seconds, tokens = (sum(line[name] for line in steps) for name in ("seconds", "tokens"))
    learnt = f"{run.model} learnt {run.objective} for {_duration(seconds)}: {len(steps):,} steps, {tokens:,} tokens"
    if "validation_loss" not in run.scores:
        return f"{learnt}. No text was held out."
    if (loss := token_loss(run.scores)) is None:
        return f"{learnt}. On held-out text it ends at {run.scores['validation_loss']:.3f} nats."
    entropy = run.scores["unigram_entropy"]
    beside = f"{abs(entropy - loss):.2f} {'below' if loss < entropy else 'above'} the {entropy:.2f}"
    return (
        f"{learnt}. On held-out text it ends at {loss:.3f} nats a token, {beside} of a model that knows only how "
        "frequent each token is."
    )


def _reached(run: Run) -> Iterator[str]:
    scores = run.scores
    columns = [Column("held-out text"), *(Column(name, "end") for name in _HEAD)]
    rows = [[label, *_row(name, scores)] for name, label in TEXTS.items() if f"{name}_loss" in scores]
    if rows:
        yield table(columns, rows)
        yield "Losses in nats an item; the unigram entropy is the loss of a model that knows only word frequencies."
    if "forgetting" in scores:
        change = scores["forgetting"]
        said = (
            f"rose by {change:.3f} nats: so much was forgotten" if change > 0 else "did not rise: nothing was forgotten"
        )
        yield f"The loss on old text {said}."


_HEAD = ("before", "at the end", "bits per byte", "unigram entropy")


def _row(name: str, scores: Mapping[str, Any]) -> list[str]:
    entropy = "unigram_entropy" if name == VALIDATION else f"{name}_unigram_entropy"
    found = (f"{name}_loss_before", f"{name}_loss", f"{name}_bits_per_byte", entropy)
    return [f"{scores[key]:.3f}" if key in scores else "–" for key in found]


def _loss(run: Run) -> Iterator[str]:
    curves = [Series("training", smooth(run.curve("step", "loss")))]
    for name, key in (("held out", "loss"), ("old text", f"{OLD}_loss")):
        curves += [Series(name, points)] if len(points := run.curve("evaluation", key)) > 1 else []
    alone = all(len(line["items"]) == 1 for line in run.events("step"))  # else it is a sum of losses
    comparable = alone and "unigram_entropy" in run.scores
    references = [Reference("unigram entropy", run.scores["unigram_entropy"])] if comparable else []
    yield figure(
        line_chart(curves, "steps", "nats an item", references),
        "Loss, training smoothed. On the way held-out text is measured on fewer rows than at the end.",
    )


def _bits(run: Run) -> Iterator[str]:
    names = (("held out", "bits_per_byte"), ("old text", f"{OLD}_bits_per_byte"))
    curves = [Series(name, points) for name, key in names if (points := run.curve("evaluation", key))]
    yield figure(
        line_chart(curves, "steps", "bits per byte"),
        "Can be compared between tokenizers, as nats a token cannot. Each row is read by itself.",
    )


def _rates(run: Run) -> Iterator[str]:
    yield figure(
        line_chart([Series("learning rate", run.curve("step", "learning_rate"))], "steps", "learning rate", height=220),
        "Learning rate.",
    )
    rates = [(line["step"], line["tokens"] / max(line["seconds"], 1e-9)) for line in run.events("step")]
    yield figure(
        line_chart([Series("tokens a second", smooth(rates))], "steps", "tokens a second", height=220),
        "Tokens a second of training, evaluations not counted.",
    )
    norms = smooth(run.curve("step", "grad_norm"))
    yield figure(
        line_chart([Series("gradient norm", norms)], "steps", "gradient norm", height=220), "Norm before clipping."
    )


def _samples(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "Beginnings, and how the model goes on: drawn with the same random numbers each time, none picked by hand."
    *earlier, last = events
    yield element("h3", {}, f"After step {last['step']:,}")
    yield _written(last)
    for event in reversed(earlier):
        yield details(f"After step {event['step']:,}", _written(event))


def _written(event: Mapping[str, Any]) -> Html:
    rows = [[one["prompt"], one["text"]] for one in event["samples"]]
    return table([Column("beginning"), Column("goes on")], rows)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} minutes"
