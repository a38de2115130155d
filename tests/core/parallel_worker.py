"""What each of the processes does that test_parallel starts under torchrun: ``parallel_worker.py FOLDER``.

Starting processes is slow, so one pair does it all: it loses rank 1 of a run, trains every objective and task by itself
and together, runs commands that succeed, stop or fail, and writes what it saw to ``rank-N.json``.
"""

import errno
import json
import os
import signal
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from conftest import tiny_bert, tiny_gpt2, tiny_tokenizer
from test_invariants import BUILDERS, TEXTS, in_precision, member_of, run
from transformers import AutoModelForMaskedLM

from lathe.cli import main
from lathe.compress.distill import SoftTargets
from lathe.core import checkpoint, health, learn, packing, parallel, runtime, tables
from lathe.core.errors import DataError
from lathe.core.learn import Train
from lathe.core.optim import SGD
from lathe.core.tokens import TokenFile
from lathe.models.pretrained import new_model, save_model
from lathe.tasks import Classify, conversations

CUTS = [
    (torch.float64, True, 11),
    (torch.float64, False, 10**6),
    (torch.float32, True, 10**6),
    (torch.float32, False, 11),
]
"""(type of the weights, packed, tokens of a micro-batch)"""
ROWS = [("good film", "pos"), ("great plot", "pos"), ("bad film", "neg"), ("awful plot in Paris", "neg")]
FINETUNE = """
verb = "finetune"
base = "base"
data.train = "rows.jsonl"
task.kind = "classify"
train = {epochs = 2, batch_size = 5, tokens_per_batch = 16, learning_rate = 0.01, precision = "fp32", save_steps = 2}
"""
PRETRAIN = """
verb = "pretrain"
tokenizer = "base"
data = {train = "texts.txt", validation = "texts.txt"}
model = {kind = "bert", hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, dropout = 0.0}
max_length = 16
[train]
max_steps = 12
tokens_per_step = 100
tokens_per_batch = 32
precision = "fp32"
learning_rate = 0.05
optimizer = {kind = "sgd", momentum = 0.9}
"""
RANK = runtime.launch().rank


def equalities() -> dict[str, dict]:
    """Of every member of the unions and every cut: how far the ranks together end from one process alone."""
    alone = {name: trained(*case) for name, case in cases().items()}
    with parallel.joined():
        assert parallel.ranks() == (RANK, 2)
        together = {name: trained(*case) for name, case in cases().items()}
    found = {}
    for name, (weights, steps) in together.items():
        before, expected = alone[name]
        pairs = list(zip(steps, expected, strict=True))
        found[name] = {
            "weights": float((weights - before).abs().max()),
            "moved": float((before - untrained(*cases()[name])).abs().max()),
            "told": max(max(apart(a.loss, b.loss), apart(a.grad_norm, b.grad_norm)) for a, b in pairs),
            "same": all((a.rows, a.tokens, a.items) == (b.rows, b.tokens, b.items) for a, b in pairs),
            "rows": [step.rows for step in steps],
        }
    return found


def apart(value: float, expected: float) -> float:
    """Relative to what is expected where that is large: an ELECTRA's loss is weighted by 50."""
    return abs(value - expected) / max(1.0, abs(expected))


def cases() -> dict[str, tuple]:
    """Each with a member of its own: packing changes the configuration that a model was built from."""
    return {
        f"{kind} {str(cut[0])[6:]} {'packed' if cut[1] else 'padded'}": (member(kind), *cut)
        for kind in (*BUILDERS, "two parts")
        for cut in CUTS
    }


def member(kind):
    return two_parts() if kind == "two parts" else member_of(kind, tiny_tokenizer(), tiny_bert(), tiny_gpt2())


def two_parts():
    """Gold answers beside a teacher's; only one row has gold, so that a rank has no item of that part."""
    member = member_of("classify", tiny_tokenizer(), tiny_bert(), tiny_gpt2())
    rows = member.objective.encode([{"text": text} for text in TEXTS], tiny_tokenizer())
    for number, row in enumerate(rows):
        row["soft"] = torch.tensor([[0.1 * number, 1.0]])
    rows[0]["label"] = 1

    class Distilled(SoftTargets):
        auto_model = Classify.auto_model

    return replace(member, objective=Distilled(member.objective, 2.0, 0.5), rows=rows)


def untrained(member, dtype, packed, _) -> torch.Tensor:
    return flat(built(member, dtype, packed))


def built(member, dtype, packed):
    """A model with a kept gradient where its family can have one, and a weight that never gets any."""
    model = in_precision(member.build(), dtype)
    model.unused = torch.nn.Parameter(torch.ones(3, 3, dtype=dtype))
    if packed:
        packing.enable(model)
        tables.SMALLEST = 1
        tables.keep_gradients(model)
    return model


def trained(member, dtype, packed, tokens_per_batch):
    model = built(member, dtype, packed)
    config = Train(
        learning_rate=0.05,
        optimizer=SGD(momentum=0.9, weight_decay=0.1),
        precision="fp32",
        max_grad_norm=0.5,
        warmup_ratio=0,
    )
    tokenizer = tiny_tokenizer()
    conversations.prepare(tokenizer)
    tokenizer.add_tokens([*"@#*"])  # which mark the ends of a relation
    steps, _ = run(member, tokenizer, model, config, tokens_per_batch, steps=5)
    return flat(model), steps


def flat(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def commands() -> dict[str, dict]:
    """Commands as torchrun starts them, in both processes: what each said and how it ended."""
    tune, pretrain = ["finetune", "finetune.toml", "--json"], ["pretrain", "pretrain.toml", "--json"]
    found = {
        "whole": command([*tune, "-o", "whole"]),
        "killed": command([*tune, "-o", "killed"]),
        "reused": command([*tune, "-o", "whole"]),
        "early": command([*tune, "train.eval_steps=1", "train.early_stopping_patience=1", "-o", "early"]),
        "pretrained": command([*pretrain, "-o", "pretrained"]),
        "too few rows a step": command([*tune, "train.batch_size=1", "-o", "refused"]),
        "too few tokens a step": command([*pretrain, "train.tokens_per_step=10", "-o", "refused"]),
        "too long a row": command([*tune, "train.tokens_per_batch=3", "-o", "refused"]),
        "not for several": command(["predict", "whole", "rows.jsonl", "--json"]),
        "wrong flag": command([*tune, "--epochs", "1", "-o", "refused"]),
        "wrong option": command([*tune, "train.epoch=1", "-o", "refused"]),
        "wrong data": command([*tune, "data.train=wrong.jsonl", "-o", "refused"]),
    }
    with slow_reader(Path("refused.work")):
        found["files gone"] = command([*pretrain, "train.tokens_per_step=10", "-o", "refused"])
    with in_step(4, 1, lambda: signal.raise_signal(signal.SIGTERM)):
        found["stopped"] = command([*tune, "-o", "cut"])
        found["left"] = command([*tune, "-o", "left"])
    found["resumed"] = command([*tune, "-o", "cut"])
    with in_step(3, 1, fail(DataError("row 7 cannot be read"))):
        found["one rank fails"] = command([*tune, "-o", "failed"])
    with patched(checkpoint, "save", fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))):
        found["disk full"] = command([*tune, "-o", "full"])
    with in_step(3, 1, lambda: Poisoned(labels=("neg", "pos"))):
        found["bad step"] = command([*tune, "train.max_bad_steps=1", "-o", "bad"])
    guarded = [*tune, "train.spike_sigma=100", "train.max_rewinds=1"]
    with patched(health, "WINDOW", 4), in_step(7, 1, lambda: Spiked(labels=("neg", "pos"))):
        found["rewound"] = command([*guarded, "-o", "rewound"])
        with in_step(9, 1, lambda: signal.raise_signal(signal.SIGTERM)):
            found["rewound and stopped"] = command([*guarded, "-o", "rewound-cut"])
        found["rewound and resumed"] = command([*guarded, "-o", "rewound-cut"])
    return found


def command(arguments: list[str]) -> dict:
    """One call of ``lathe``, as if both processes had just been started."""
    start_together()
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def start_together() -> None:
    """Both wait for each other, and what was told of the run before is forgotten."""
    store = parallel._store()
    for state in ("ready", "clean"):
        number = store.add(f"{state} {RANK}", 1)
        store.set(f"{state} {RANK} {number}", "")
        store.wait([f"{state} {1 - RANK} {number}"])
        if state == "ready":
            store.delete_key("told")


@contextmanager
def in_step(number: int, rank: int, act):
    """Within it, ``act`` is called on that rank when it begins that step; it may return another objective."""
    take = learn.train_step

    def step(model, objective, step, config, total, state):
        if rank == RANK and state.step + 1 == number:
            objective = act() or objective
        return take(model, objective, step, config, total, state)

    with patched(learn, "train_step", step):
        yield


@contextmanager
def slow_reader(folder: Path):
    """Within it, rank 1 opens its last tokens once rank 0 has removed ``folder``."""
    take = TokenFile.open

    def late(path):
        while RANK == 1 and path.name == "tokens-validation" and folder.exists():
            time.sleep(0.01)
        return take(path)

    with patched(TokenFile, "open", staticmethod(late)):
        yield


@contextmanager
def patched(module, name, value):
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def fail(error: Exception):
    def raise_it(*_, **__):
        raise error

    return raise_it


class Poisoned(Classify):
    """Its loss is no number."""

    def loss(self, model, batch):
        return [part._replace(total=part.total * float("nan")) for part in super().loss(model, batch)]


class Spiked(Classify):
    """Its loss is finite, and no update should be made by it."""

    def loss(self, model, batch):
        return [part._replace(total=part.total * 1e6) for part in super().loss(model, batch)]


def lose_rank_1() -> int:
    """A run in forked processes, that of rank 1 being killed in a step; returns how this one ended."""
    child = os.fork()
    if child == 0:
        with in_step(5, 1, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            os._exit(main(["finetune", "finetune.toml", "-o", "killed"]))
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.environ["TORCHELASTIC_RESTART_COUNT"] = "1"  # as torchrun starts them anew
    return ended


def prepare(folder: Path) -> None:
    """A base model with dropout, rows, texts and recipes."""
    config = tiny_bert()
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.1
    save_model(new_model(AutoModelForMaskedLM, config, seed=0), tiny_tokenizer(), folder / "base")
    rows = [{"text": f"{text} {i}", "label": label} for i in range(9) for text, label in ROWS]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "wrong.jsonl").write_text('{"text": "good", "mark": 1}\n', encoding="utf-8")
    texts = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris"] * 20
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (folder / "finetune.toml").write_text(FINETUNE, encoding="utf-8")
    (folder / "pretrain.toml").write_text(PRETRAIN, encoding="utf-8")


def work(folder: Path) -> None:
    os.chdir(folder)
    torch.set_num_threads(1)
    if RANK == 0:
        prepare(folder)
    while not Path("pretrain.toml").exists():
        time.sleep(0.05)
    lost = lose_rank_1()  # first: a process that has computed gradients cannot be forked
    seen = {"lost": lost, "equalities": equalities(), "commands": commands()}
    Path(f"rank-{RANK}.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
