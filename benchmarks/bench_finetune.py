"""Claim: fine-tuning is several times faster than transformers.Trainer with its defaults, and not less accurate.

    python benchmarks/bench_finetune.py speed       5 interleaved rounds of 60 steps each
    python benchmarks/bench_finetune.py accuracy    5 seeds each, paired on the rows of validation and test

SST-2 sentences, a 22M-parameter encoder, 32 rows a step. Each run is a process of its own: what a user would start.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import ROOT, data_set, lathe, peak_gflops, pretrained_encoder, write_result

from lathe import load
from lathe.core.data import LABELLED
from lathe.core.data import load as load_rows

STEPS, ROUNDS, SEEDS = 60, 5, 5
CHOSEN = ("train.learning_rate=2e-4", "train.epochs=2")  # of nine, on the validation rows: bench_race.py
FLOPS_PER_TOKEN = 3 * 2 * 6 * 12 * 384**2  # forward and backward, matrix products of six layers; attention left out


def speed() -> None:
    data, model = data_set("sst2_sentences"), pretrained_encoder()
    peaks = {"fp32": peak_gflops(torch.float32), "bf16": peak_gflops(torch.bfloat16)}
    ours, tokens, theirs, best = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            run = lathe(
                "finetune", *options_of(model, data, 0), f"train.max_steps={STEPS}", "-o", Path(folder) / f"l{number}"
            )
            ours.append(run["rows_per_second"])
            tokens.append(run["tokens_per_second"])
            short = ("--max-steps", str(STEPS), "--speed-only")
            theirs.append(trainer(model, data, Path(folder) / f"t{number}.json", *short)["rows_per_second"])
            best.append(trainer(model, data, Path(folder) / f"b{number}.json", *short, "--best")["rows_per_second"])
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    to_best = [a / b for a, b in zip(ours, best, strict=True)]
    result = {
        "claim": __doc__.splitlines()[0],
        "steps": STEPS,
        "lathe_rows_per_second": ours,
        "trainer_rows_per_second": theirs,
        "ratios": ratios,
        "median_ratio": statistics.median(ratios),
        "trainer_best_rows_per_second": best,
        "ratios_to_its_best": to_best,
        "median_ratio_to_its_best": statistics.median(to_best),
        "peak_gflops": peaks,
        "lathe_fraction_of_bf16_peak": statistics.median(tokens) * FLOPS_PER_TOKEN / 1e9 / peaks["bf16"],
    }
    write_result("finetune_speed", result)


def accuracies() -> None:
    data, model = data_set("sst2_sentences"), pretrained_encoder()
    rows = [row for split in ("validation", "test") for row in load_rows(data / f"{split}.jsonl.gz", LABELLED).rows]
    kept = ROOT / "runs" / "bench-finetune"
    kept.mkdir(parents=True, exist_ok=True)
    right: dict[str, list[list[int]]] = {"defaults": [], "chosen": [], "trainer": []}  # [seeds][rows]
    for seed in range(SEEDS):
        for side, setting in (("defaults", ()), ("chosen", CHOSEN)):
            given = dict(option.split("=", 1) for option in (*options_of(model, data, seed), *setting))
            out = kept / f"{side}-{seed}"
            lathe("finetune", *(f"{key}={value}" for key, value in given.items()), "-o", out)
            answers = load(out)([row["text"] for row in rows])
            right[side].append([int(p.label == row["label"]) for p, row in zip(answers, rows, strict=True)])
        run = trainer(model, data, kept / f"trainer-{seed}.json", "--seed", str(seed))
        right["trainer"].append(run["validation"] + run["test"])
    result = {
        "claim": __doc__.splitlines()[0],
        "rows": len(rows),
        "accuracy": {side: [float(np.mean(run)) for run in runs] for side, runs in right.items()},
        "chosen": CHOSEN,
    }
    for side in ("defaults", "chosen"):
        differences = np.array(right[side], float) - np.array(right["trainer"], float)  # [seeds, rows]
        low, high = _interval(differences)
        result[f"{side}_minus_trainer"] = {
            "points": 100 * float(differences.mean()),
            "interval_90": [100 * low, 100 * high],
        }
    write_result("finetune_accuracy", result)


def options_of(model: Path, data: Path, seed: int) -> list[str]:
    """All that a user gives; the accuracy of the peer comes with its defaults, too."""
    files = [f"data.{split}={data}/{split}.jsonl.gz" for split in ("train", "validation")]
    return [f"base={model}", "task.kind=classify", *files, f"train.seed={seed}"]


def trainer(model: Path, data: Path, out: Path, *options: str) -> dict:
    if not out.is_file():
        script = Path(__file__).with_name("peer_trainer.py")
        command = [sys.executable, str(script), str(model), str(data), str(out), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads(out.read_text(encoding="utf-8"))


def _interval(differences: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """90 % bootstrap interval of the mean difference, over seeds and rows together."""
    draw = np.random.default_rng(0)
    seeds, rows = differences.shape
    means = [
        differences[draw.integers(seeds, size=seeds)][:, draw.integers(rows, size=rows)].mean()
        for _ in range(resamples)
    ]
    return float(np.quantile(means, 0.05)), float(np.quantile(means, 0.95))


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["speed", "accuracy"]
    if "speed" in chosen:
        speed()
    if "accuracy" in chosen:
        accuracies()
