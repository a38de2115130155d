"""Claim: given only a base, data and the kind of task, the score is within a point of a search over learning rates.

    python benchmarks/bench_defaults.py [SET ...]

Every run is a plain ``lathe finetune`` command. Its result is kept below ``runs/bench-defaults`` and reused; where the
default is one of the rates searched, its run is the same run.
"""

import sys

from common import ROOT, data_set, lathe, pretrained_encoder, write_result

KINDS = {"sst2_sentences": "classify", "trec6": "classify", "banking77": "classify", "conll2003": "tag"}
RATES = (5e-5, 1e-4, 2e-4)


def main() -> None:
    rows = {}
    for name in sys.argv[1:] or KINDS:
        data, kind = data_set(name), KINDS[name]
        common = [f"base={pretrained_encoder()}", f"task.kind={kind}", f"data.train={data}/train.jsonl.gz"]
        common += [f"data.validation={data}/validation.jsonl.gz", f"data.test={data}/test.jsonl.gz"]
        metric = {"classify": "accuracy", "tag": "entity_f1"}[kind]
        kept = ROOT / "runs" / "bench-defaults" / name
        kept.mkdir(parents=True, exist_ok=True)
        default = lathe("finetune", *common, "-o", kept / "default")
        searched = {
            rate: lathe("finetune", *common, f"train.learning_rate={rate}", "-o", kept / str(rate)) for rate in RATES
        }
        best = max(searched.values(), key=lambda run: run["scores"]["validation"][metric])
        rows[name] = {
            "metric": metric,
            "default": default["scores"]["test"][metric],
            "rows_per_second": default["rows_per_second"],
            "searched": {str(rate): run["scores"]["test"][metric] for rate, run in searched.items()},
            "best_on_validation": best["scores"]["test"][metric],
            "best_on_test": max(run["scores"]["test"][metric] for run in searched.values()),
            "baseline": default["scores"]["test_baseline"][metric],
        }
        rows[name]["points_below_best"] = 100 * (rows[name]["best_on_test"] - rows[name]["default"])
        write_result("defaults", {"claim": __doc__.splitlines()[0], "sets": rows})


if __name__ == "__main__":
    main()
