"""A run that is killed again and again, at random moments, ends with the weights of the run that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lathe.core.digest import file_digest

KILLS = 20
PRETRAIN = """
max_length = 64
[model]
kind = "bert"
hidden_size = 64
num_hidden_layers = 2
num_attention_heads = 2
[train]
max_steps = 600
tokens_per_step = 1024
save_steps = 3
"""
WORDS = ["team", "model", "plain", "text", "serves", "small", "next", "day", "silent", "mistake", "trains", "without"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a tokenizer, an encoder and labelled rows, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("torture")
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(3, 40))) for _ in range(3000)]
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    rows = [{"text": text, "label": "long" if len(text.split()) > 20 else "short"} for text in texts]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "pretrain.toml").write_text('verb = "pretrain"\n' + PRETRAIN, encoding="utf-8")
    lathe(folder, "tokenizer", "data.train=texts.txt", "vocab_size=512", "-o", "tokenizer")
    lathe(folder, *pretrain(), "train.max_steps=5", "-o", "encoder")
    return folder


def pretrain() -> list[str]:
    return ["pretrain", "pretrain.toml", "data.train=texts.txt", "tokenizer=tokenizer"]


def finetune() -> list[str]:
    options = ["train.epochs=6", "train.save_steps=3", "train.eval_steps=20", "train.batch_size=32"]
    return ["finetune", "base=encoder", "task.kind=classify", "data.train=rows.jsonl", *options]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lathe", *arguments]


def lathe(folder: Path, *arguments: str) -> None:
    subprocess.run(command(*arguments), cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(folder: Path, *arguments: str) -> float:
    started_s = time.monotonic()
    lathe(folder, *arguments)
    return time.monotonic() - started_s


def saved(out: Path) -> str:
    """The name of the newest checkpoint of a run."""
    return max((path.name for path in (out.with_name(f"{out.name}.work") / "checkpoints").glob("step-*")), default="")


@pytest.mark.torture
@pytest.mark.parametrize("arguments", [pretrain(), finetune()], ids=["pretrain", "finetune"])
def test_twenty_kills_change_no_bit_of_the_weights(folder, arguments):
    whole_s = timed(folder, *arguments, "-o", f"unbroken-{arguments[0]}")
    start_s = timed(folder, "finetune", "--help")  # imports what a run imports
    out, kills, draw = folder / f"killed-{arguments[0]}", 0, random.Random(1)
    while kills < KILLS and not out.exists():
        process = subprocess.Popen(
            command(*arguments, "-o", out.name),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if draw.random() < 0.3:
            time.sleep(draw.uniform(0, start_s))  # while it starts
        else:
            before = saved(out)
            while process.poll() is None and saved(out) == before:
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.5 * whole_s / KILLS))  # in a step, in a save, in an evaluation
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        assert process.wait() in (0, -signal.SIGKILL)
    newest = saved(out)
    assert newest, "no kill came late enough to matter"
    lathe(folder, *arguments, "-o", out.name)  # the same command goes on, unattended
    print(f"{arguments[0]}: {kills} kills, the last of them after {newest}")
    weights = [file_digest(folder / f"{name}-{arguments[0]}" / "model.safetensors") for name in ("unbroken", "killed")]
    assert weights[0] == weights[1]
