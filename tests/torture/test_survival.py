"""Runs that are killed, stopped, or find the disk full, at random moments, end as the run that was left alone.

A tenth of each belongs to the main suite, all of it to ``make torture``.
"""

import json
import os
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lathe.core.checkpoint import newest
from lathe.core.digest import file_digest

PRETRAIN = """
verb = "pretrain"
tokenizer = "tokenizer"
max_length = 16
[data]
train = "texts.txt"
validation = "held.txt"
[model]
kind = "bert"
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
[train]
precision = "fp32"
max_steps = 40
tokens_per_step = 128
tokens_per_batch = 64
eval_steps = 8
save_steps = 2
spike_sigma = 6
max_bad_steps = 3
"""
FINETUNE = """
verb = "finetune"
base = "encoder"
[data]
train = "rows.jsonl"
[task]
kind = "classify"
[train]
precision = "fp32"
optimizer = "muon"
max_steps = 40
batch_size = 8
eval_steps = 5
save_steps = 2
"""
WORDS = ["good", "bad", "great", "awful", "film", "plot", "the", "a", "is", "not", "in", "Paris"]
KINDS = ["pretrain", "finetune"]


def tenth(count):
    return pytest.mark.parametrize("count", [count // 10, pytest.param(count, marks=pytest.mark.torture)])


class Lab:
    """Two small runs, what they end with when left alone, and a warm process to start them from."""

    def __init__(self, folder):
        self.folder, self.runs = folder, 0
        self.zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            preexec_fn=lambda: os.sched_setaffinity(
                0, {min(os.sched_getaffinity(0))}
            ),  # one core: a fork has no threads
        )

    def start(self, kind, out):
        self.zygote.stdin.write(json.dumps([kind, f"{kind}.toml", "-o", str(self.folder / out), "--json"]) + "\n")
        return Run(self, self.folder / out)

    def finish(self, kind, out):
        run = self.start(kind, out)
        assert run.wait() == 0, run.said
        return run

    def new(self):
        self.runs += 1
        return f"run-{self.runs}"

    def end(self, out):
        """All that a run leaves: weights, the last checkpoint with the optimizer's memory, and its log."""
        weights = file_digest(self.folder / out / "model.safetensors")
        saved = {p.name: file_digest(p) for p in (self.folder / f"{out}.end").iterdir()}
        lines = [
            json.loads(line) for line in (self.folder / out / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        return weights, saved, [line | {"time": 0, "seconds": 0} for line in lines if line["event"] != "not saved"]


class Run:
    """A run under way; it is only ever signalled through a handle that cannot mean another process."""

    def __init__(self, lab, out):
        self.out, self.lines = out, lab.zygote.stdout
        self.pid, self.said = int(self.lines.readline().removeprefix("pid ")), {}
        with suppress(ProcessLookupError):
            self.handle = os.pidfd_open(self.pid)

    @property
    def alive(self):
        return not select.select([self.handle], [], [], 0)[0]

    def signal(self, number):
        """True where it was still there to get it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)
            return True
        return False

    def limit_files(self, size):
        if self.alive:
            with suppress(ProcessLookupError):
                resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def wait(self):
        while not (line := self.lines.readline()).startswith("exit "):
            if line.startswith("{"):
                self.said = json.loads(line)
        os.close(self.handle)
        return int(line.removeprefix("exit "))

    def saving(self):
        work = self.out.with_name(f"{self.out.name}.work")
        return (work / "checkpoints" / ".part").exists() or (work / "best" / ".part").exists()

    def evaluating(self):
        return self.out.with_name(f"{self.out.name}.evaluating").exists()

    def newest(self):
        folder = self.out.with_name(f"{self.out.name}.work") / "checkpoints"
        try:
            return max((p.name for p in folder.glob("step-*")), default="")
        except FileNotFoundError:  # the run has just ended, and taken its work folder away
            return ""

    def until(self, condition):
        while self.alive and not condition():
            time.sleep(0.0002)

    def reach(self, moment, draw):
        """Wait for a moment in a save, in an evaluation, or some checkpoints later at any moment."""
        if moment == "save":
            self.until(self.saving)
            time.sleep(draw.uniform(0, 0.004))
        elif moment == "evaluation":
            self.until(self.evaluating)
        else:
            for _ in range(draw.randint(1, 3)):
                before = self.newest()
                self.until(lambda before=before: self.newest() != before)
            time.sleep(draw.uniform(0, 0.01))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survival")
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(2, 12))) for _ in range(200)]
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (folder / "held.txt").write_text("\n".join(texts[:5]), encoding="utf-8")
    rows = [{"text": text, "label": "long" if len(text.split()) > 7 else "short"} for text in texts]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "tokenizer.toml").write_text(
        'verb = "tokenizer"\nvocab_size = 128\n[data]\ntrain = "texts.txt"\n', encoding="utf-8"
    )
    (folder / "pretrain.toml").write_text(PRETRAIN, encoding="utf-8")
    (folder / "finetune.toml").write_text(FINETUNE, encoding="utf-8")
    lab = Lab(folder)
    try:
        lab.finish("tokenizer", "tokenizer")
        lab.finish("pretrain", "encoder")
        for kind in KINDS:
            lab.finish(kind, f"whole-{kind}")
        yield lab
    finally:
        lab.zygote.communicate()


def same_as_unbroken(lab, kind, out):
    """Compare, and make room."""
    ours, whole = lab.end(out), lab.end(f"whole-{kind}")
    assert ours[0] == whole[0], "weights"
    assert ours[1] == whole[1], "the last checkpoint"
    assert ours[2] == whole[2], "the log"
    shutil.rmtree(lab.folder / out)


@tenth(200)
def test_kills_change_no_bit(lab, count):
    draw, kills, inside = random.Random(count), 0, 0
    while kills < count:
        kind, out, ended = KINDS[lab.runs % 2], lab.new(), False
        while not ended:
            run = lab.start(kind, out)
            if kills < count:
                run.reach("save" if draw.random() < 0.3 else "any", draw)
                run.signal(signal.SIGKILL)
            code = run.wait()
            ended = code == 0
            assert ended or code == -signal.SIGKILL, run.said
            kills += not ended
            inside += not ended and run.saving()
        same_as_unbroken(lab, kind, out)
    assert inside >= count / 10
    print(f"SURVIVAL kills {kills}\nSURVIVAL kills_inside_a_save {inside}")


@tenth(50)
def test_stops_save_and_go_on(lab, count):
    draw, stops = random.Random(count), 0
    while stops < count:
        kind, out, ended = KINDS[lab.runs % 2], lab.new(), False
        while not ended:
            run = lab.start(kind, out)
            if stops < count:
                run.reach(draw.choice(["save", "evaluation", "any"]), draw)
                run.signal(signal.SIGTERM)
            code = run.wait()
            ended = code == 0
            assert ended or code in (143, -signal.SIGTERM), run.said
            if code == 143:
                stops += 1
                at = int(re.search(r"stopped after (?:step|the last of) (\d+)", run.said["error"])[1])
                assert newest(Path(f"{run.out}.work") / "checkpoints").step == at
        same_as_unbroken(lab, kind, out)
    print(f"SURVIVAL stops {stops}")


@tenth(50)
def test_a_full_disk_costs_nothing(lab, count):
    """Files of the run end at a random byte from a random moment on; sometimes there is room again while it runs."""
    draw, points, ends = random.Random(count), 0, 0
    while points < count:
        kind, out, ended = KINDS[lab.runs % 2], lab.new(), False
        while not ended:
            run = lab.start(kind, out)
            if points < count:
                run.reach(draw.choice(["save", "any"]), draw)
                before = run.newest()
                run.limit_files(int(10 ** draw.uniform(0, 5)))
                points += run.alive
                if draw.random() < 0.3:
                    time.sleep(draw.uniform(0, 0.05))
                    run.limit_files(resource.RLIM_INFINITY)
            code = run.wait()
            ended = code == 0
            assert ended or code == 2 and "cannot be written" in run.said["error"], run.said
            if not ended:
                ends += 1
                assert "free some space and run the same command again" in run.said["error"]
                assert not run.saving(), "what could not be written stays on the disk"
                assert not before or newest(Path(f"{run.out}.work") / "checkpoints").step >= int(before[5:])
        same_as_unbroken(lab, kind, out)
    print(f"SURVIVAL full_disks {points}\nSURVIVAL full_disks_that_ended_a_process {ends}")
