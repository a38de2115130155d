"""Claim: clients of other servers speak to this one unchanged, and get what the loaded model answers.

make clients, then python benchmarks/bench_clients.py

Runs the tests behind ``make clients`` and keeps which method of which client passed. A method that this server does not
have passes where it is refused with a reason.
"""

import json
import re
import subprocess
import sys
from collections import Counter

from common import ROOT, write_result

LINE = re.compile(r"CLIENT (\{.*\})")


def main() -> None:
    command = [sys.executable, "-m", "pytest", "-m", "clients", "-s", "tests/serve/clients"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in LINE.findall(done.stdout)]
    if done.returncode or not all(line["passed"] for line in lines):
        sys.exit(f"{done.stdout[-3000:]}\na client failed; no result was written")
    counts = Counter(f"{line['script']} {next(iter(line['versions'].values()))}" for line in lines)
    methods = sorted({f"{line['script']} {next(iter(line['versions'].values()))}: {line['method']}" for line in lines})
    clients = sorted({f"{name} {version}" for line in lines for name, version in line["versions"].items()})
    told = {"claim": __doc__.splitlines()[0], "clients": clients, "passed": dict(counts), "methods": methods}
    write_result("clients", told)


if __name__ == "__main__":
    main()
