"""Claim: our Transformer learns Multi30k English to German from nothing in ten minutes on two cores, to 33 BLEU.

    python benchmarks/bench_translation.py            three seeds; a run that is there is taken as it is
    python benchmarks/bench_translation.py 0          one seed

BLEU is sacrebleu's (13a, cased, beams of 5) on the 1,000 rows of Flickr 2016 and 2017. The recipe is
recipes/translate.toml with as many steps as fit: their pace is measured first, in a run of its own. The ten minutes are
those from the first step to the last, evaluations included.
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

from common import ROOT, data_set, lathe, rows_of, write_result

from lathe.core.work import read_log

DATA_SET, SECONDS, TRIAL_STEPS, EVALUATIONS = "multi30k_en_de", 600.0, 60, 5
EVALUATION_S = 12.0
"""Of 200 answers and the loss of 1,014 rows."""
FOLDER = ROOT / "runs" / "bench-translation"


def main(seeds: list[int]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    steps = steps_that_fit()
    runs = [run(seed, steps) for seed in seeds]
    write_result("translation", {
        "claim": __doc__.splitlines()[0],
        "steps": steps,
        "runs": runs,
        "mean_bleu_2016": mean(one["test"]["bleu"] for one in runs),
        "mean_bleu_2017": mean(one["test_2017"]["bleu"] for one in runs),
    })  # fmt: skip


def run(seed: int, steps: int) -> dict[str, Any]:
    out = FOLDER / f"seed-{seed}"
    options = [f"train.seed={seed}", f"train.max_steps={steps}", f"train.eval_steps={steps // EVALUATIONS}"]
    made = lathe("finetune", *arguments(), f"data.test={split('test')}", *options, "-o", out)
    log = list(read_log(out))
    times = [line["time"] for line in log if line["event"] in ("step", "evaluation")]
    report = lathe("evaluate", out, f"data.test={split('test_2017_flickr')}", "-o", FOLDER / f"seed-{seed}-2017")
    return {
        "seed": seed,
        "seconds": round(times[-1] - times[0], 1),
        "evaluations": [
            {k: line[k] for k in ("step", "loss", "bleu")} for line in log if line["event"] == "evaluation"
        ],
        "test": made["scores"]["test"],
        "test_baseline": made["scores"]["test_baseline"],
        "test_2017": report["scores"]["test"],
    }


def arguments() -> list[str]:
    """What a user gives, but the length of the run."""
    files = [f"data.{name}={split(name)}" for name in ("train", "validation")]
    return [str(ROOT / "recipes" / "translate.toml"), f"tokenizer={words()}", *files]


def words() -> Path:
    """One vocabulary for both languages, from the training pairs alone."""
    both, out = FOLDER / "both.txt", FOLDER / "words"
    pairs = list(rows_of(DATA_SET, "train"))
    both.write_text("".join(f"{pair[side]}\n" for side in ("source", "target") for pair in pairs), encoding="utf-8")
    lathe("tokenizer", f"data.train={both}", "algorithm.kind=byte_bpe", "vocab_size=8192", "-o", out)
    return out


def split(name: str) -> Path:
    return data_set(DATA_SET) / f"{name}.jsonl.gz"


def steps_that_fit() -> int:
    """Measured once: a run that goes on trains as long as an unbroken one."""
    kept = FOLDER / "steps.json"
    if not kept.is_file():
        out = FOLDER / "pace"
        few = [f"train.max_steps={TRIAL_STEPS}", "train.max_eval_samples=1", "task.generation.max_new_tokens=1"]
        lathe("finetune", *arguments(), *few, "-o", out)
        moments = [line["time"] for line in read_log(out) if line["event"] == "step"][TRIAL_STEPS // 3 :]
        pace = quantiles([b - a for a, b in pairwise(moments)], n=4)[1]
        kept.write_text(json.dumps(int((SECONDS - EVALUATIONS * EVALUATION_S) / pace)), encoding="utf-8")
    return int(json.loads(kept.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
