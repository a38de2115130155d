"""Runs of ``lathe`` as forks of one warm process: a start costs milliseconds, not seconds.

Reads a line of JSON for each run: its arguments. Writes ``pid N``, what the run prints, and ``exit N``. The last
checkpoint of a run that ends well is copied to ``OUT.end``, and ``OUT.evaluating`` is there while it evaluates.
"""

import importlib
import json
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

from lathe.cli import main

WARM = [
    "lathe.pretrain.stage",
    "lathe.tasks.training",
    "lathe.finetune.stage",
    "transformers.models.bert.modeling_bert",
]
EVALUATIONS = [("lathe.pretrain.stage", "mean_losses"), ("lathe.tasks.training", "validated")]


def run(arguments: list[str]) -> int:
    out = arguments[arguments.index("-o") + 1]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stderr.fileno())
    keep_end(out)
    for module, name in EVALUATIONS:
        mark_evaluation(sys.modules[module], name, Path(f"{out}.evaluating"))
    code = main(arguments)
    sys.stdout.flush()
    return code


def keep_end(out: str) -> None:
    work = sys.modules["lathe.core.work"]
    publish = work._publish

    def kept(run, *rest):
        if run.checkpoints.is_dir():
            shutil.rmtree(f"{out}.end", ignore_errors=True)
            shutil.copytree(max(run.checkpoints.glob("step-*")), f"{out}.end")
        publish(run, *rest)

    work._publish = kept


def mark_evaluation(module, name: str, marker: Path) -> None:
    evaluate = getattr(module, name)

    def marked(*arguments):
        marker.mkdir(exist_ok=True)
        time.sleep(0.01)
        try:
            return evaluate(*arguments)
        finally:
            marker.rmdir()

    setattr(module, name, marked)


if __name__ == "__main__":
    for module in WARM:
        importlib.import_module(module)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            code = 70
            try:
                code = run(json.loads(line))
            except BaseException:
                print(json.dumps({"error": traceback.format_exc()}), flush=True)
            finally:
                os._exit(code)
        print(f"pid {pid}", flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"\nexit {os.waitstatus_to_exitcode(status)}", flush=True)
