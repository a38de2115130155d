"""Claim: fine-tuning reaches the accuracy of transformers.Trainer many times sooner.

    python benchmarks/bench_race.py choose    the best of nine settings of each side, to be written below
    python benchmarks/bench_race.py curves    accuracy every 50 steps: 5 seeds of each side
    python benchmarks/bench_race.py pace      seconds a step, in interleaved rounds; nothing else may run
    python benchmarks/bench_race.py           what of curves and pace is not there yet, and the result

SST-2 sentences, a 22M-parameter encoder, 32 rows a step; each side with its defaults, and each at its best: the
learning rate (of 3) and number of epochs (1 to 3) that reach the default peer's final accuracy soonest on the
validation rows, for the peer with bf16 and rows of like length together. The target is the default peer's mean final
accuracy on validation and test rows. Which step reaches it does not depend on what else the machine does, so curves
may be made at any time, several at once; the seconds are those steps times the pace.
"""

import gzip
import json
import statistics
import sys
import tempfile
from itertools import product
from pathlib import Path

from bench_finetune import SEEDS, options_of, trainer
from common import ROOT, data_set, lathe, pretrained_encoder, training_curve, write_result

EVERY, ROUNDS, PACE_STEPS = 50, 3, 60
RATES, OUR_RATES, EPOCHS = ("5e-5", "1e-4", "2e-4"), ("1e-4", "2e-4", "3e-4"), (1, 2, 3)
BEST = ("--best", "--learning-rate", "1e-4", "--epochs", "2")  # found by `choose`
OUR_BEST = ("train.learning_rate=2e-4", "train.epochs=2")  # found by `choose`
STUDENT = 2.132  # 95 % quantile of Student's t at SEEDS - 1 degrees of freedom
KEPT = ROOT / "runs" / "bench-race"


def curves() -> dict[str, list[list[dict]]]:
    """Of each side and seed; runs that are there are used again."""
    seeds = range(SEEDS)
    return {
        "lathe": [our_curve(seed) for seed in seeds],
        "lathe_best": [our_curve(seed, *OUR_BEST) for seed in seeds],
        "trainer": [peer_curve(seed) for seed in seeds],
        "trainer_best": [peer_curve(seed, *BEST) for seed in seeds],
    }


def choose() -> None:
    """Of each side the setting that reaches the default peer's final accuracy soonest, on the validation rows."""
    target = statistics.mean(peer_curve(seed)[-1]["validation"] for seed in range(SEEDS))
    print("BEST =", best_setting(target))
    print("OUR_BEST =", our_best_setting(target))


def peer_curve(seed: int, *setting: str) -> list[dict]:
    watched = ("--seed", str(seed), "--eval-every", str(EVERY), "--speed-only", *setting)
    name = "-".join(["trainer", str(seed), *(part.strip("-") for part in setting)])
    return trainer(pretrained_encoder(), data_set("sst2_sentences"), KEPT / f"{name}.json", *watched)["curve"]


def our_curve(seed: int, *setting: str) -> list[dict]:
    """On validation and test rows together."""
    judged = KEPT / "validation-and-test.jsonl"
    splits = [(data_set("sst2_sentences") / f"{split}.jsonl.gz").read_bytes() for split in ("validation", "test")]
    judged.write_bytes(b"".join(map(gzip.decompress, splits)))
    return our_run("-".join(["lathe", str(seed), *setting]), seed, f"data.validation={judged}", *setting)


def our_run(name: str, seed: int, *more: str) -> list[dict]:
    options = options_of(pretrained_encoder(), data_set("sst2_sentences"), seed)
    given = dict(option.split("=", 1) for option in [*options, f"train.eval_steps={EVERY}", *more])
    lathe("finetune", *(f"{key}={value}" for key, value in given.items()), "-o", KEPT / name)
    return training_curve(KEPT / name, "accuracy")


def best_setting(target: float) -> tuple[str, ...]:
    """Of the peer's settings the one that reaches ``target`` on validation in the fewest steps, seed 0."""
    settings = [("--best", "--learning-rate", rate, "--epochs", str(epochs)) for rate, epochs in product(RATES, EPOCHS)]
    return min(settings, key=lambda setting: steps_until(peer_curve(0, *setting), target, "validation"))


def our_best_setting(target: float) -> tuple[str, ...]:
    """The same of ours, on the validation rows alone."""
    settings = [(f"train.learning_rate={r}", f"train.epochs={n}") for r, n in product(OUR_RATES, EPOCHS)]
    return min(settings, key=lambda setting: steps_until(our_run("-".join(["choice", *setting]), 0, *setting), target))


def steps_until(curve: list[dict], target: float, figure: str = "accuracy") -> float:
    """Steps to the first evaluation at ``target``; infinite where there is none."""
    return next((point["step"] for point in curve if point[figure] >= target), float("inf"))


def paired(ours: list[list[dict]], theirs: list[list[dict]]) -> list[float]:
    """Difference of the accuracies after the last step in points, paired by seed: mean and Student's interval."""
    differences = [100 * (a[-1]["accuracy"] - b[-1]["accuracy"]) for a, b in zip(ours, theirs, strict=True)]
    mean, half = statistics.mean(differences), STUDENT * statistics.stdev(differences) / SEEDS**0.5
    return [mean, mean - half, mean + half]


def pace() -> dict[str, list[float]]:
    """Seconds a step of each side, in interleaved rounds."""
    data, model = data_set("sst2_sentences"), pretrained_encoder()
    found: dict[str, list[float]] = {"lathe": [], "trainer": [], "trainer_best": []}
    short = ("--max-steps", str(PACE_STEPS), "--speed-only")
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(ROUNDS):
            out = Path(scratch) / f"lathe-{number}"
            lathe("finetune", *options_of(model, data, 0), f"train.max_steps={PACE_STEPS}", "-o", out)
            found["lathe"].append(training_curve(out, "accuracy")[-1]["seconds"] / PACE_STEPS)
            for name, extra in (("trainer", ()), ("trainer_best", ("--best",))):
                run = trainer(model, data, Path(scratch) / f"{name}-{number}.json", *short, *extra)
                found[name].append(run["seconds"] / PACE_STEPS)
    return found


def main() -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    if sys.argv[1:] == ["curves"]:
        curves()
        return
    if sys.argv[1:] == ["choose"]:
        choose()
        return
    kept = KEPT / "pace.json"
    if sys.argv[1:] == ["pace"] or not kept.is_file():
        kept.write_text(json.dumps(pace()), encoding="utf-8")
    if sys.argv[1:] == ["pace"]:
        return
    paces, found = json.loads(kept.read_text(encoding="utf-8")), curves()
    target = statistics.mean(curve[-1]["accuracy"] for curve in found["trainer"])
    steps = {side: [steps_until(curve, target) for curve in of_side] for side, of_side in found.items()}
    never = {side: sum(s == float("inf") for s in of_side) for side, of_side in steps.items()}
    ends = {side: of_side[0][-1]["step"] for side, of_side in found.items()}
    # A run that never gets there counts with all of its steps: less than it would need.
    counted = {side: [min(s, ends[side]) for s in of_side] for side, of_side in steps.items()}
    paces["lathe_best"] = paces["lathe"]  # neither the learning rate nor the number of epochs changes it
    seconds = {side: statistics.mean(counted[side]) * statistics.median(paces[side]) for side in found}
    result = {
        "claim": __doc__.splitlines()[0],
        "target_accuracy": target,
        "steps_to_target": counted,
        "never_reached": never,
        "seconds_a_step": paces,
        "seconds_to_target": seconds,
        "default_to_default": seconds["trainer"] / seconds["lathe"],
        "best_to_default": seconds["trainer"] / seconds["lathe_best"],
        "best_to_best": seconds["trainer_best"] / seconds["lathe_best"],
        "points_at_the_end_with_interval_90": {
            "lathe - trainer": paired(found["lathe"], found["trainer"]),
            "lathe_best - trainer": paired(found["lathe_best"], found["trainer"]),
            "lathe_best - trainer_best": paired(found["lathe_best"], found["trainer_best"]),
        },
        "best_settings": {"lathe": OUR_BEST, "trainer": BEST},
        "curves": found,
    }
    write_result("finetune_race", result)


if __name__ == "__main__":
    main()
