"""Claim: ``lathe --help`` answers within 0.3 s, and ``make test`` ends within 10 minutes on two cores.

python benchmarks/bench_commands.py
"""

import statistics
import subprocess
import sys
import time

from common import ROOT, write_result

TRIES = 11


def main() -> None:
    helps = [_seconds(sys.executable, "-m", "lathe", "--help") for _ in range(TRIES)]
    result = {
        "claim": __doc__.splitlines()[0],
        "help_seconds_median": round(statistics.median(helps), 3),
        "help_seconds_most": round(max(helps), 3),
        "make_test_seconds": round(_seconds("make", "test"), 1),
    }
    write_result("commands", result)


def _seconds(*command: str) -> float:
    started_s = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
