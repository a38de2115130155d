"""1,000 broken files: nothing crashes, what is bad is quarantined with its place and reason, what is good is kept.

python benchmarks/bench_broken.py [COUNT]
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from broken import Broken, broken_files
from common import write_result

from lathe.core.data import Bad
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped
from lathe.corpus.readers import Options, read_file


def judge(broken: Broken, folder: Path) -> str:
    """What is wrong with how a file was read; "" where nothing is."""
    file = folder / broken.name
    file.write_bytes(broken.content)
    items = list(read_file(file, broken.name, Options()))
    bad = [item for item in items if isinstance(item, Bad)]
    kept = [item.text for item in items if isinstance(item, Document)]
    dropped = [item for item in items if isinstance(item, Dropped)]
    if dropped or kept != (broken.good[: len(kept)] if broken.is_cut else broken.good):
        return f"kept {len(kept)} of {len(broken.good)} good rows"
    if len(bad) != (broken.line is not None):
        return f"{len(bad)} in quarantine: {[str(one) for one in bad]}"
    for one in bad:
        if one.file != str(file) or not one.reason or not one.fix:
            return f"no file, reason or way out: {one}"
        if not broken.is_cut and (one.line, one.offset) != (broken.line, broken.offset):
            return f"at {one.line}, {one.offset} and not at {broken.line}, {broken.offset}: {one}"
    return ""


def main(count: int) -> None:
    faults, kinds, rows = [], Counter[str](), 0
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for broken in broken_files(count):
            kinds[broken.fault] += 1
            rows += len(broken.good)
            if wrong := judge(broken, Path(folder)):
                faults.append(f"{broken.name} ({broken.fault}): {wrong}")
    values = {
        "files": count,
        "seed": 0,
        "kinds": len(kinds),
        "good_rows": rows,
        "crashes": 0,
        "passed": count - len(faults),
        "faults": faults,
        "seconds": round(time.perf_counter() - started_s, 1),
    }
    write_result("broken_files", values)
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
