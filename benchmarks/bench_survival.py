"""Claim: 20 random kills each of a pretraining and a fine-tuning run change no bit of the final weights.

python benchmarks/bench_survival.py

Runs the tests behind ``make torture`` and keeps what they say.
"""

import re
import subprocess
import sys

from common import ROOT, write_result

LINE = re.compile(r"^\W*(\w+): (\d+) kills, the last of them after step-(\d+)", re.MULTILINE)


def main() -> None:
    command = [sys.executable, "-m", "pytest", "-m", "torture", "-s", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    runs = {
        stage: {"kills": int(kills), "last_kill_after_step": int(step), "weights_equal_to_the_bit": True}
        for stage, kills, step in LINE.findall(done.stdout)
    }
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\nthe torture tests failed; no result was written")
    write_result("survival", {"claim": __doc__.splitlines()[0], "runs": runs})


if __name__ == "__main__":
    main()
