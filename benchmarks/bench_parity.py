"""Claim: tagging and question answering are not less accurate than plain, correctly aligned Trainer scripts.

    python benchmarks/bench_parity.py [tag] [answer]      half an hour and two hours on two cores

CoNLL-2003 (entity F1) and SQuAD (F1), a 22M-parameter encoder, the same rows for both sides, both with their defaults;
runs paired by seed, and the 90 % interval of the difference drawn over seeds and test rows together. Classification has
a benchmark of its own, bench_finetune.py. Each run is a process of its own, kept below runs/bench-parity and reused.
"""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from common import ROOT, lathe, pretrained_encoder, rows_of, write_result

from lathe import load
from lathe.core import stats
from lathe.core.data import load as load_rows
from lathe.core.metrics import entity_f1, squad_f1
from lathe.core.predictions import Answer, Span, Spans
from lathe.core.types import Metric
from lathe.tasks import AnyTask

SEEDS, MARGIN = 3, 0.7
KEPT = ROOT / "runs" / "bench-parity"


class Comparison(NamedTuple):
    data: str
    metric: Metric
    rows: dict[str, int]


COMPARISONS = {
    "tag": Comparison("conll2003", entity_f1, {"train": 4000, "validation": 1000, "test": 3453}),
    "answer": Comparison("squad", squad_f1, {"train": 4000, "validation": 500, "test": 2000}),
}


def main() -> None:
    result = ROOT / "benchmarks" / "results" / "parity.json"
    known = json.loads(result.read_text(encoding="utf-8"))["tasks"] if result.is_file() else {}
    for name in sys.argv[1:] or COMPARISONS:
        known[name] = compared(name, COMPARISONS[name])
        write_result("parity", {"claim": __doc__.splitlines()[0], "margin_points": MARGIN, "tasks": known})


def compared(name: str, comparison: Comparison) -> dict[str, Any]:
    """Both sides, every seed."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {split: drawn(comparison, split, folder) for split in comparison.rows}
    test = list(map(json.loads, files["test"].open(encoding="utf-8")))
    ours, theirs = [], []
    for seed in range(SEEDS):
        out = folder / f"lathe-{seed}"
        data = [f"data.{split}={files[split]}" for split in ("train", "validation")]
        options = [f"base={pretrained_encoder()}", f"task.kind={name}", f"train.seed={seed}"]
        lathe("finetune", *options, *data, "-o", out)
        model = load(out)
        ours.append(model([asked(row) for row in test]))
        theirs.append([as_ours(said, row) for said, row in zip(peer(name, files, seed, folder), test, strict=True)])
    golds = golds_of(model.task, files["test"])
    points = stats.mean_difference(comparison.metric, golds, theirs, ours, resamples=10_000, confidence=0.9)
    return {
        "data": comparison.data,
        "rows": comparison.rows,
        "metric": comparison.metric.__name__,
        "lathe": [comparison.metric(golds, run) for run in ours],
        "trainer": [comparison.metric(golds, run) for run in theirs],
        "lathe_minus_trainer_points": 100 * points.value,
        "interval_90_points": [100 * points.low, 100 * points.high],
        "not_inferior": 100 * points.low > -MARGIN,
    }


def drawn(comparison: Comparison, split: str, folder: Path) -> Path:
    file = folder / f"{split}.jsonl"
    if not file.is_file():
        rows = list(rows_of(comparison.data, split))
        chosen = random.Random(0).sample(rows, min(comparison.rows[split], len(rows)))
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen), encoding="utf-8")
    return file


def peer(name: str, files: dict[str, Path], seed: int, folder: Path) -> list[Any]:
    out = folder / f"trainer-{seed}.json"
    if not out.is_file():
        script = Path(__file__).with_name("peer_tasks.py")
        paths = (pretrained_encoder(), files["train"], files["test"], out)
        command = [sys.executable, str(script), name, *map(str, paths), "--seed", str(seed)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers: list[Any] = json.loads(out.read_text(encoding="utf-8"))
    return answers


def asked(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what is to be found."""
    return {key: value for key, value in row.items() if key in {"tokens", "question", "context"}}


def as_ours(said: Any, row: dict[str, Any]) -> Spans | Answer:
    """The peer's answer: a text, or a tag for each token, of which one space stands between two."""
    if isinstance(said, str):
        return Answer(said, None, None, 1.0)
    spans: list[Span] = []
    start, before = 0, "O"
    for token, tag in zip(row["tokens"], said, strict=True):
        end = start + len(token)
        if tag.startswith("I-") and before[2:] == tag[2:]:
            spans[-1] = Span(spans[-1].start, end, tag[2:])
        elif tag != "O":
            spans.append(Span(start, end, tag[2:]))
        start, before = end + 1, tag
    return Spans(tuple(spans))


def golds_of(task: AnyTask, file: Path) -> list[Any]:
    return [task.gold(row) for row in load_rows(file, task.labelled).rows]


if __name__ == "__main__":
    main()
