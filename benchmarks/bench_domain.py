"""Claim: ten minutes of masked pretraining on a domain's own text give at least 2 points at 1,000 labels.

    python benchmarks/bench_domain.py [SET ...]                 all sets: about three hours on two cores
    python benchmarks/bench_domain.py --seconds 20 --seeds 2 --labels 100 --test 200 ag_news      a rehearsal

Two networks: `small`, new, with a tokenizer of the domain's text, pretrained there against the same network with new
weights; and, in English, `minilm`, a sentence encoder of 22M parameters that goes on learning there, against itself as
it came. The text is that of the training rows (and the unlabelled reviews beside imdb), never of validation or test
rows. Each seed draws other labelled rows and weights; the difference is paired by seed, with Student's interval. TF-IDF
with logistic regression on the same rows stands beside them. Every run is a plain command, kept below runs/bench-domain
and reused.
"""

import argparse
import gzip
import json
import statistics
from pathlib import Path
from typing import Any

from common import DATA, ROOT, data_set, lathe, paced, pretrained_encoder, rows_of, some_rows, write_result

from lathe.stories.quickstart import NewWeights, new_weights

SETS = {"imdb": ("small", "minilm"), "ag_news": ("small", "minilm"), "online_shopping_10_cats": ("small",)}
LENGTHS = {"imdb": 256, "ag_news": 96, "online_shopping_10_cats": 128}
MORE_TEXT = {"imdb": "imdb_unsup_lm/train.txt.gz"}
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % of Student's t, by the number of seeds
SMALL = {"kind": "modernbert", "hidden_size": 256, "num_hidden_layers": 4, "max_position_embeddings": 256}


def main() -> None:
    options = arguments()
    folder = ROOT / "runs" / "bench-domain" / f"{options.seconds:.0f}-s-{options.labels}-labels-{options.test}-test"
    sets = {name: {network: measured(name, network, folder / name, options) for network in SETS[name]}
            for name in options.sets or SETS}  # fmt: skip
    reached = [name for name, networks in sets.items() if any(one["gain"]["low"] > 0 and one["gain"]["mean"] >= 2
                                                              for one in networks.values())]  # fmt: skip
    helped_little = [f"{name}, {network}" for name, networks in sets.items() for network, one in networks.items()
                     if one["gain"]["low"] <= 0]  # fmt: skip
    values = {"claim": __doc__.splitlines()[0], "options": {k: v for k, v in vars(options).items() if k != "sets"}}
    write_result("domain" if options.is_whole else "domain_rehearsal",
                 values | {"reached_on": reached, "no_gain_shown": helped_little, "sets": sets})  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", choices=[*SETS, []])
    parser.add_argument("--seconds", type=float, default=600, help="of pretraining")
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(STUDENT))
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--test", type=int, default=4000, help="most test rows")
    found = parser.parse_args()
    found.is_whole = (found.seconds, found.seeds, found.labels, found.test) == (600, 5, 1000, 4000)
    return found


def measured(name: str, network: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One network on one set: before and after, by seed."""
    folder.mkdir(parents=True, exist_ok=True)
    text = domain_text(name, folder)
    after, learnt = pretrained(network, text, folder, options.seconds)
    test = some_rows(name, "test", options.test, 0, folder)
    runs = []
    for seed in range(options.seeds):
        rows = some_rows(name, "train", options.labels, seed, folder)
        before = pretrained_encoder() if network == "minilm" else untrained(after, seed, folder)
        runs.append({arm: fine_tuned(base, rows, test, name, seed, folder / f"{network}-{arm}-{seed}")
                     for arm, base in (("before", before), ("after", after))})  # fmt: skip
    points = {arm: [100 * run[arm]["test"]["accuracy"] for run in runs] for arm in ("before", "after")}
    differences = [new - old for old, new in zip(points["before"], points["after"], strict=True)]
    mean, half = statistics.mean(differences), half_width(differences)
    return {
        "accuracy_before": points["before"],
        "accuracy_after": points["after"],
        "tfidf_logistic_regression": [100 * run["after"]["test_baseline"]["accuracy"] for run in runs],
        "gain": {"mean": mean, "low": mean - half, "high": mean + half},
        "pretraining": learnt,
    }


def half_width(differences: list[float]) -> float:
    return STUDENT[len(differences)] * statistics.stdev(differences) / len(differences) ** 0.5


def domain_text(name: str, folder: Path) -> Path:
    """The texts of the training rows, without their labels."""
    file = folder / "text.jsonl"
    if not file.is_file():
        lines = [json.dumps({"text": row["text"]}, ensure_ascii=False) for row in rows_of(name, "train")]
        if name in MORE_TEXT:
            with gzip.open(DATA / MORE_TEXT[name], "rt", encoding="utf-8") as stream:
                lines += [json.dumps({"text": line.strip()}, ensure_ascii=False) for line in stream if line.strip()]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def pretrained(network: str, text: Path, folder: Path, seconds: float) -> tuple[Path, dict[str, Any]]:
    """The network after so many seconds of steps on the text."""
    values: dict[str, Any] = {"data": {"train": str(text)}, "max_length": 128, "objective": {"kind": "masked"}}
    values["train"] = {"tokens_per_step": 2048, "learning_rate": 2e-3, "lr_scheduler": "wsd"}
    if network == "small":
        lathe("tokenizer", f"data.train={text}", "vocab_size=8192", "-o", folder / "tokenizer")
        values |= {"tokenizer": str(folder / "tokenizer"), "model": SMALL}
    else:
        values |= {"base": str(pretrained_encoder())}
        values["train"] |= {"learning_rate": 3e-4}
    return folder / network, paced(network, values, folder, seconds)


def untrained(like: Path, seed: int, folder: Path) -> Path:
    out = folder / f"new-weights-{seed}"
    new_weights(NewWeights(like=like, seed=seed), out)
    return out


def fine_tuned(base: Path, rows: Path, test: Path, name: str, seed: int, out: Path) -> dict[str, Any]:
    validation = data_set(name) / "validation.jsonl.gz"
    data = [f"data.train={rows}", f"data.validation={validation}", f"data.test={test}"]
    options = ["task.kind=classify", f"task.max_length={LENGTHS[name]}", f"train.seed={seed}"]
    scores: dict[str, Any] = lathe("finetune", f"base={base}", *data, *options, "-o", out)["scores"]
    return scores


if __name__ == "__main__":
    main()
