"""Commands that are killed again and again: of one process, of two under torchrun, and torchrun itself."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from lathe.core.digest import file_digest

KILLS, KILLS_OF_RANKS = 20, 8
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
LATHE = ["-m", "lathe"]
WORDS = ["team", "model", "plain", "text", "serves", "small", "next", "day", "silent", "mistake", "trains", "without"]
SHAPE = ["model.hidden_size=32", "model.num_hidden_layers=2", "model.num_attention_heads=2"]
PRETRAIN = ["pretrain", "data.train=texts.txt", "tokenizer=tokenizer", "max_length=64", *SHAPE]
STEPS = ["train.max_steps=300", "train.tokens_per_step=1024", "train.save_steps=3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a tokenizer, an encoder and labelled rows, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("ranks")
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(3, 30))) for _ in range(1000)]
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    rows = [{"text": text, "label": "long" if len(text.split()) > 15 else "short"} for text in texts]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tags = [["B-M" if word == "model" else "O" for word in text.split()] for text in texts]
    tagged = [{"tokens": text.split(), "tags": of_words} for text, of_words in zip(texts, tags, strict=True)]
    (folder / "tags.jsonl").write_text("\n".join(map(json.dumps, tagged)), encoding="utf-8")
    subprocess.run(
        [sys.executable, *LATHE, "tokenizer", "data.train=texts.txt", "vocab_size=300", "-o", "tokenizer"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        [sys.executable, *LATHE, *PRETRAIN, "train.max_steps=5", "-o", "encoder"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def start(folder: Path, *arguments: str, restarts: int = 0) -> subprocess.Popen:
    command = [*TORCHRUN, f"--max-restarts={restarts}", *LATHE, *arguments]
    with (folder / "said.txt").open("w", encoding="utf-8") as said:
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)


def workers(torchrun: subprocess.Popen) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(torchrun.pid).children() if "lathe" in child.cmdline()]
    except psutil.NoSuchProcess:
        return []


def saved(out: Path) -> str:
    """The name of the newest checkpoint of a run."""
    try:
        return max(
            (path.name for path in (out.with_name(f"{out.name}.work") / "checkpoints").glob("step-*")), default=""
        )
    except FileNotFoundError:  # the run has just ended, and taken its work folder away
        return ""


def until_saved(run: subprocess.Popen, out: Path) -> None:
    before = saved(out)
    while run.poll() is None and saved(out) == before:
        time.sleep(0.01)


def finetune() -> list[str]:
    options = ["train.epochs=6", "train.save_steps=3", "train.eval_steps=20", "train.batch_size=32"]
    return ["finetune", "base=encoder", "task.kind=classify", "data.train=rows.jsonl", *options]


def multitask() -> list[str]:
    options = ["train.max_steps=160", "train.save_steps=3", "train.eval_steps=20", "train.batch_size=32"]
    parts = {"label": ("classify", "rows.jsonl"), "find": ("tag", "tags.jsonl")}
    tasks = [f"tasks.{name}.{key}" for name, (kind, file) in parts.items()
             for key in (f"task.kind={kind}", f"data.train={file}")]  # fmt: skip
    return ["multitask", "base=encoder", *tasks, *options]


stages = pytest.mark.parametrize(
    "arguments", [[*PRETRAIN, *STEPS], finetune(), multitask()], ids=["pretrain", "finetune", "multitask"]
)


def same_weights(folder: Path, *outs: str) -> bool:
    files = [sorted((folder / out).rglob("model.safetensors")) for out in outs]
    return len({tuple(map(file_digest, of_one)) for of_one in files}) == 1


@pytest.mark.torture
@stages
def test_the_same_command_goes_on_after_kills_and_ends_with_the_same_bits(folder, arguments):
    verb, draw, kills = arguments[0], random.Random(1), 0
    out = folder / f"alone-{verb}"
    run_alone = partial(subprocess.Popen, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert run_alone([sys.executable, *LATHE, *arguments, "-o", f"left-{verb}"]).wait() == 0
    while kills < KILLS:
        run = run_alone([sys.executable, *LATHE, *arguments, "-o", out.name])
        if draw.random() < 0.3:
            time.sleep(draw.uniform(0, 5))  # while it starts
        else:
            until_saved(run, out)
            time.sleep(draw.uniform(0, 0.2))  # in a step, in a save, in an evaluation
        if run.poll() is not None:
            break  # it has come to its end before all kills
        run.kill()
        kills += 1
        assert run.wait() in (0, -signal.SIGKILL)
    assert saved(out), "no kill came late enough to matter"
    assert run_alone([sys.executable, *LATHE, *arguments, "-o", out.name]).wait() == 0
    assert same_weights(folder, f"left-{verb}", out.name)
    print(f"SURVIVAL kills_of_{verb} {kills}")


@pytest.mark.torture
@stages
def test_killed_ranks_change_no_bit_of_the_weights(folder, arguments):
    verb, draw = arguments[0], random.Random(1)
    assert start(folder, *arguments, "-o", f"unbroken-{verb}").wait() == 0
    out, kills = folder / f"killed-{verb}", 0
    run = start(folder, *arguments, "-o", out.name, restarts=KILLS_OF_RANKS)
    while run.poll() is None and kills < KILLS_OF_RANKS:
        until_saved(run, out)
        time.sleep(draw.uniform(0, 0.2))  # in a step, in a save, in an evaluation
        alive = workers(run)
        if len(alive) == 2:
            draw.choice(alive).kill()
            kills += 1
    assert run.wait() == 0, (folder / "said.txt").read_text(encoding="utf-8")[-5000:]
    assert kills > 2
    assert same_weights(folder, f"unbroken-{verb}", out.name)


@pytest.mark.torture
def test_a_signal_to_torchrun_saves_and_ends_all(folder):
    out = folder / "stopped"
    run = start(folder, *finetune(), "-o", out.name)
    until_saved(run, out)
    ours = workers(run)
    run.send_signal(signal.SIGTERM)
    assert run.wait() != 0
    assert not any(process.is_running() for process in ours)
    said = (folder / "said.txt").read_text(encoding="utf-8")
    assert said.count("lathe finetune: stopped after step") == 1
    assert int(saved(out).removeprefix("step-")) == int(said.split("stopped after step ")[1].split()[0])


@pytest.mark.torture
def test_no_process_outlives_torchrun(folder):
    out = folder / "orphaned"
    run = start(folder, *finetune(), "-o", out.name)
    until_saved(run, out)
    ours = workers(run)
    assert len(ours) == 2
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert psutil.wait_procs(ours, timeout=60)[1] == []
    assert not out.exists()
