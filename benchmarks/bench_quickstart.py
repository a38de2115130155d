"""Claim: after installation the quickstart takes at most five minutes and 4 GB on two cores.

python benchmarks/bench_quickstart.py
"""

import json
import resource
import tempfile
import time
from pathlib import Path

from common import lathe, write_result

from lathe.core.bundle import Bundle
from lathe.core.work import read_log


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "quickstart"
        started_s = time.perf_counter()
        lathe("quickstart", "-o", out)
        seconds = time.perf_counter() - started_s
        encoder = Bundle.open(out / "encoder").manifest
        steps = [line for line in read_log(out / "encoder") if line["event"] == "step"]
        result = {
            "claim": __doc__.splitlines()[0],
            "seconds": round(seconds, 1),
            "peak_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
            "pretraining_seconds": round(sum(step["seconds"] for step in steps), 1),
            "pretraining_steps": len(steps),
            "unigram_entropy_nats": encoder.scores["unigram_entropy"],
            "masked_loss_nats": encoder.scores["validation_loss"],
            "nats_below": encoder.scores["unigram_entropy"] - encoder.scores["validation_loss"],
            "stages": json.loads((out / "plan.json").read_text(encoding="utf-8"))["seconds"],
            "comparison": Bundle.open(out / "comparison").manifest.scores,
        }
    write_result("quickstart", result)


if __name__ == "__main__":
    main()
