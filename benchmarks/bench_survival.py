"""Claim: no kill, stop, full disk or NaN changes a bit of what a run ends with; no damage to a checkpoint goes unseen.

python benchmarks/bench_survival.py

Runs the tests behind ``make torture`` and keeps what they count.
"""

import re
import subprocess
import sys

from common import ROOT, write_result

LINE = re.compile(r"SURVIVAL (\w+) (\d+)")
WANTED = {
    "kills": 200,
    "kills_of_pretrain": 20,  # the commands themselves, from their start on
    "kills_of_finetune": 20,
    "kills_of_a_job": 50,  # clean, deduplicate, tokenize 200 MB
    "bit_flips": 1000,
    "truncations": 200,
    "full_disks": 50,
    "stops": 50,
    "nans": 50,
}


def main() -> None:
    command = [sys.executable, "-m", "pytest", "-m", "torture", "-s", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    counts = {name: int(count) for name, count in LINE.findall(done.stdout)}
    missing = [name for name, least in WANTED.items() if counts.get(name, 0) < least]
    if done.returncode or missing:
        sys.exit(f"{done.stdout[-2000:]}\nfailed or missing: {', '.join(missing)}; no result was written")
    write_result("survival", {"claim": __doc__.splitlines()[0], "survived": counts})


if __name__ == "__main__":
    main()
