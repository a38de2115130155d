"""The card of a model: its manifest as a page that people, and Hugging Face's hub, can read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

from lathe.core.bundle import Ancestor, Manifest

_PIPELINES = {
    "answer": "question-answering",
    **dict.fromkeys(["classify", "multilabel", "score"], "text-classification"),
    "choose": "multiple-choice",
    **dict.fromkeys(["intent", "tag"], "token-classification"),
}
_CLASSES = {
    "answer": "AutoModelForQuestionAnswering",
    **dict.fromkeys(["classify", "multilabel", "score"], "AutoModelForSequenceClassification"),
    "choose": "AutoModelForMultipleChoice",
    **dict.fromkeys(["event", "intent", "relate", "tag"], "AutoModelForTokenClassification"),
}
_PURPOSES = {
    "answer": "Finds the stretch of a context that answers a question, in characters of the context as it was given.",
    "choose": "Chooses one of several answers to a text, with the probability of each.",
    "classify": "Gives a text, or a pair of texts, one of its labels, with the probability of each.",
    "event": "Finds the events of a text: the words that tell of them, and who and what take part in which role.",
    "intent": "Tells what an utterance wants, and finds the values that it gives, in characters of the text.",
    "multilabel": "Gives a text all the labels that hold, with the probability of each by itself.",
    "relate": "Tells which relations hold between the entities of a text, from which to which.",
    "score": "Gives a text, or a pair of texts, a number.",
    "tag": "Finds labelled spans in a text, in characters of the text as it was given.",
}
SHOWN_LABELS = 50
OWN = "lathe-"
"""How ``model_type`` begins for networks of Lathe's own: transformers opens them once ``lathe.models`` is imported."""


class Figure(NamedTuple):
    """One score, with what it is to be seen beside."""

    name: str  # test.accuracy
    value: float
    interval: tuple[float, float] | None = None
    baseline: float | None = None


def card(name: str, manifest: Manifest, sizes: Mapping[str, int], model_type: str = "") -> str:
    """Markdown with Hugging Face's YAML header; ``sizes`` are the bytes of the model's files.

    Language and licence are left out: nobody but the owner of the text knows them.
    """
    parts = [
        _header(manifest),
        f"# {name}\n\nMade by `lathe {manifest.stage}`, {_size(manifest, sizes)}.",
        _use(manifest),
        _loading(name, manifest, model_type.startswith(OWN)),
        _scores(manifest),
        kept(manifest.scores),
        _data(manifest),
        _origin(name, manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def figures(scores: Mapping[str, Any], prefix: str = "") -> Iterator[Figure]:
    """Every number of nested scores; ``x_baseline`` and ``x_interval`` stand beside ``x``, not below it."""
    for name, value in scores.items():
        if isinstance(value, Mapping) and not _beside(name, scores):
            yield from figures(_with_company(name, scores), f"{prefix}{name}.")
        elif isinstance(value, Real) and not isinstance(value, bool) and not _beside(name, scores):
            interval, baseline = scores.get(f"{name}_interval"), scores.get(f"{name}_baseline")
            yield Figure(f"{prefix}{name}", float(value), (interval[0], interval[1]) if interval else None, baseline)


def number(value: float) -> str:
    """A score with four digits after the point, a count with none.

    >>> number(0.912345), number(1200.0)
    ('0.9123', '1,200')
    """
    return f"{value:,.0f}" if abs(value) > 1 and value.is_integer() else f"{value:,.4f}"


def lineage(
    parents: Sequence[Ancestor], remark: Callable[[Ancestor], str] = lambda _: "", indent: str = ""
) -> Iterator[str]:
    """The ancestors as a tree, one line each; ``remark`` adds to a line.

    >>> list(lineage([Ancestor(path="a", sha256="12" * 32, stage="corpus")]))
    ['└── a (corpus, 121212121212)']
    """
    for position, parent in enumerate(parents, 1):
        last = position == len(parents)
        branch = "└── " if last else "├── "
        yield f"{indent}{branch}{parent.path} ({parent.stage}, {parent.sha256[:12]}){remark(parent)}"
        yield from lineage(parent.parents, remark, indent + ("    " if last else "│   "))


def _beside(name: str, scores: Mapping[str, Any]) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in scores for end in ("_baseline", "_interval"))


def _with_company(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of one group, with its baselines and intervals under ``metric_baseline`` and ``metric_interval``."""
    inside = dict(scores[name])
    for end in ("_baseline", "_interval"):
        beside = scores.get(f"{name}{end}", {})
        inside |= {f"{metric}{end}": value for metric, value in beside.items() if metric in inside}
    return inside


def _header(manifest: Manifest) -> str:
    kind = (manifest.task or {}).get("kind", "")
    pipeline = [f"pipeline_tag: {_PIPELINES[kind]}"] if kind in _PIPELINES else []
    library = "lathe" if _only_scores(manifest) else "transformers"
    return "\n".join(["---", f"library_name: {library}", *pipeline, "tags:", "- lathe", "---"])


def _size(manifest: Manifest, sizes: Mapping[str, int]) -> str:
    needed = [name for name in (manifest.runtime.files if manifest.runtime else sizes) if name in sizes]
    size = f"{sum(sizes[name] for name in needed) / 1e6:,.1f} MB"
    return f"{size}, {manifest.runtime.kind} {manifest.runtime.precision}" if manifest.runtime else size


def _use(manifest: Manifest) -> str:
    if _only_scores(manifest):
        return "## Intended use\n\nIt says how likely a text is, as a baseline of networks or to filter text by it."
    if manifest.task is None:
        return (
            "## Intended use\n\nA language model to go on from with `lathe finetune`, or to ask with `lathe predict`."
        )
    kind, labels = manifest.task.get("kind", ""), manifest.task.get("labels") or ()
    more = f", and {len(labels) - SHOWN_LABELS} more" if len(labels) > SHOWN_LABELS else ""
    named = ", ".join(f"`{label}`" for label in labels[:SHOWN_LABELS])
    lines = [_PURPOSES.get(kind, f"Task: {kind}."), f"Labels: {named}{more}." if labels else ""]
    if kind == "score":
        task = manifest.task
        lines.append(f"The number is {task.get('mean'):g} + {task.get('scale'):g} times the output of the network.")
    lines.append("It has been measured on text like that below; on other text nothing is known.")
    return "## Intended use\n\n" + " ".join(line for line in lines if line)


def _loading(name: str, manifest: Manifest, is_own: bool) -> str:
    first = ["import lathe.models  # AutoModel does not know this network without it"] if is_own else []
    if _only_scores(manifest):
        lines = ["from pathlib import Path", "", "from lathe.likelihood import open_language_model", ""]
        lines += [f'model = open_language_model(Path("{name}"))', 'model.score(["a text"])']
        return "\n".join(["## How to load it", "", "```python", *lines, "```"])
    if manifest.task is None:
        is_causal = manifest.recipe.get("objective", {}).get("kind") == "causal"
        auto_model = "AutoModelForCausalLM" if is_causal else "AutoModel"
        lines = [
            *first,
            f"from transformers import {auto_model}",
            "",
            f'model = {auto_model}.from_pretrained("{name}")',
        ]
        return "\n".join(["## How to load it", "", "```python", *lines, "```"])
    lines = ["import lathe", "", f'model = lathe.load("{name}")', f"model([{_row(manifest.task)}])"]
    kind = manifest.task.get("kind", "")
    if manifest.runtime and manifest.runtime.kind == "torch" and kind in _CLASSES:
        call = f'model = {_CLASSES[kind]}.from_pretrained("{name}")'
        way = "# or, with transformers" if is_own else "# or, without Lathe"
        lines += ["", way, *first, f"from transformers import {_CLASSES[kind]}", "", call]
    return "\n".join(["## How to load it", "", "```python", *lines, "```"])


def _row(task: Mapping[str, Any]) -> str:
    """What a user would ask it."""
    if task.get("kind") == "answer":
        return '{"context": "a text", "question": "what is asked of it"}'
    if task.get("kind") == "relate" and task.get("entities") != "find":
        return '{"text": "Bill was born in Rome", "head": {"start": 0, "end": 4}, "tail": {"start": 17, "end": 21}}'
    if task.get("kind") == "choose":
        return '{"text": "a text", "choices": ["an ending", "another"]}'
    return '{"text": "a text", "text_pair": "another"}' if task.get("pair") else '"a text"'


def _only_scores(manifest: Manifest) -> bool:
    """Whether it is a language model that is no network: it says how likely a text is, and nothing else."""
    return manifest.runtime is not None and manifest.runtime.kind in ("ngram", "mixture")


def _scores(manifest: Manifest) -> str:
    rows = [
        f"| {f.name} | {number(f.value)}{_interval(f)} | {'' if f.baseline is None else number(f.baseline)} |"
        for f in figures(manifest.scores)
    ]
    return "\n".join(["## Scores", "", "| | model | baseline |", "|---|---:|---:|", *rows]) if rows else ""


def kept(scores: Mapping[str, Any]) -> str:
    """Which step's weights these are, and why."""
    if "selected_by" not in scores:
        return ""
    best, steps, planned = scores["best_step"], scores["steps"], scores.get("planned_steps")
    told = [f"The weights are those of step {best:,} of {steps:,}, which has the {scores['selected_by']}."]
    told += [f"Those of step {steps:,} are in last/."] if best < steps else []
    told += [f"Training ended early, {planned:,} steps were planned: nothing better had come."] if planned else []
    return " ".join(told)


def _interval(figure: Figure) -> str:
    return f" [{number(figure.interval[0])}, {number(figure.interval[1])}]" if figure.interval else ""


def _data(manifest: Manifest) -> str:
    rows = [f"| {use.path} | {use.kept:,} | {use.quarantined:,} | `{use.sha256[:12]}` |" for use in manifest.data]
    head = ["## Data", "", "| file | rows | set aside | sha256 |", "|---|---:|---:|---|"]
    return "\n".join([*head, *rows]) if rows else ""


def _origin(name: str, manifest: Manifest) -> str:
    tree = [name, *lineage(manifest.parents)]
    versions = ", ".join(f"{library} {version}" for library, version in manifest.versions.items())
    tail = ["", f"Made with {versions}."] if versions else []
    return "\n".join(["## Where it comes from", "", "```text", *tree, "```", *tail])
