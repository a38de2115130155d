"""A training run that survives: exact after every stop; bad steps, spikes, rewinds, a full disk."""

import errno
import math
import os
import random
import resource
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors import SafetensorError

from lathe.compress.distill import SoftTargets
from lathe.core import checkpoint, fit, learn
from lathe.core.batches import EncodedRows, Plan, StepSize
from lathe.core.disk import writing
from lathe.core.errors import DiskError, LatheError, RecipeError, Stopped
from lathe.core.keyed import row_keys, row_seeds
from lathe.core.learn import BadStep, Train
from lathe.core.optim import SGD, AdamW, Muon
from lathe.core.types import Objective, Symbols
from lathe.core.work import Work, read_log
from lathe.models.pretrained import new_model
from lathe.tasks import Classify

STEPS = 14  # of 3 rows out of 11: the fourth epoch ends with step 16
RULES = {"adamw": AdamW(), "sgd": SGD(momentum=0.9), "muon": Muon()}


@dataclass(frozen=True)
class Spoilt:
    """An objective whose loss is multiplied for one row, told by its tokens."""

    inner: Objective
    ids: tuple[int, ...]
    factor: float

    def collate(self, rows, seeds, symbols):
        return self.inner.collate(rows, seeds, symbols)

    def loss(self, model, batch):
        found = any(row[: len(self.ids)] == list(self.ids) for row in batch.inputs["input_ids"].tolist())
        return [p._replace(total=p.total * (self.factor if found else 1.0)) for p in self.inner.loss(model, batch)]


@dataclass(frozen=True)
class Poisoned:
    """An objective without a finite loss for some rows of some epochs, told by their seeds."""

    inner: Objective
    seeds: frozenset[int]

    def collate(self, rows, seeds, symbols):
        batch = self.inner.collate(rows, seeds, symbols)
        wrong = any(int(seed) in self.seeds for seed in seeds)
        return replace(batch, targets=dict(batch.targets) | {"share": torch.tensor(math.nan if wrong else 1.0)})

    def loss(self, model, batch):
        return [p._replace(total=p.total * batch.targets["share"]) for p in self.inner.loss(model, batch)]


@dataclass
class Lab:
    """Runs of a tiny classifier with dropout, each in a work folder of its own."""

    folder: object
    course: fit.Course
    build: object  # () -> model

    def work(self, name):
        (self.folder / name).mkdir(exist_ok=True)
        return Work(self.folder / name, ())

    def run(self, name, config, stop_after=None, course=None):
        """Train; a run that is stopped after a step is left as a kill would leave it, with its save under way done."""
        model, work, memory = self.build(), self.work(name), {"seen": 0}
        steps = fit.fit(model, course or self.course, config, work, memory)
        for step in steps:
            memory["seen"] += 1
            if step.number == stop_after:
                break
        steps.close()
        return model

    def end(self, name):
        """Everything there was at the end of a run: weights, the optimizer's memory, health and memory."""
        found = checkpoint.newest(self.work(name).checkpoints)
        return found.step, {n: t.numpy().tobytes() for n, t in found.tensors.items()}, found.values

    def log(self, name):
        return [line | {"time": 0, "seconds": 0} for line in read_log(self.folder / name)]


@pytest.fixture
def lab(tmp_path, tokenizer, bert_config):
    task = Classify(labels=("bad", "good"), max_length=32)
    texts = ["good film", "bad plot", "a great film in Paris", "很好", "很坏", "the plot is not bad", "awful",
             "the film is good the plot is good", "影片很好", "a bad film", "not good"]  # fmt: skip
    rows = task.encode([{"text": t, "label": ("bad", "good")[i % 2]} for i, t in enumerate(texts)], tokenizer)
    source = EncodedRows(rows, row_keys("rows", len(rows)))
    plan = Plan(source.lengths, StepSize(3), seed=5)
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.1
    bert_config.num_labels = 2
    course = fit.Course(task, source, Symbols.of(tokenizer), plan, STEPS)
    return Lab(tmp_path, course, lambda: new_model(task.auto_model, bert_config, seed=0))


def train(**options):
    return Train(**{"learning_rate": 0.01, "precision": "fp32", "save_steps": 1, "tokens_per_batch": 12} | options)


@pytest.mark.parametrize(
    ("layout", "rule", "distilled"),
    [("packed", "adamw", False), ("padded", "adamw", True), ("packed", "sgd", True), ("padded", "sgd", False),
     ("packed", "muon", True), ("padded", "muon", False)],
)  # fmt: skip
def test_a_run_stopped_anywhere_ends_as_the_unbroken_one(lab, monkeypatch, layout, rule, distilled):
    """Weights and the optimizer's memory bit for bit, and the same log; in several pieces a step, with dropout."""
    if layout == "padded":
        monkeypatch.setattr(fit.packing, "enable", lambda _: "made to")
    course, config = lab.course, train(optimizer=RULES[rule], spike_sigma=6)
    if distilled:
        rows = [dict(row) | {"soft": torch.tensor([[0.3, -0.2 * i]])} for i, row in enumerate(course.source.rows)]
        course = replace(course, source=EncodedRows(rows, course.source.keys),
                         objective=SoftTargets(course.objective, 2.0, 0.5))  # fmt: skip
    lab.run("whole", config, course=course)
    for stop in (1, 4, 9, STEPS - 1):  # the first epoch, its end, the third
        lab.run("broken", config, stop, course)
        torch.randn(100)  # something else disturbs the global generator
    lab.run("broken", config, course=course)
    assert lab.end("broken") == lab.end("whole")
    assert lab.log("broken") == lab.log("whole")


def test_a_table_that_keeps_its_gradient_survives_stops_beside_an_average(lab, monkeypatch):
    monkeypatch.setattr(fit.tables, "SMALLEST", 1)
    config = train(ema_decay=0.9, save_steps=2)
    lab.run("whole", config)
    for stop in (1, 4, 9, STEPS - 1):
        lab.run("broken", config, stop)
    model = lab.run("broken", config)
    assert isinstance(model.get_input_embeddings(), fit.tables.Table)
    assert lab.end("broken") == lab.end("whole")


@pytest.mark.parametrize("stop", [1, 4, 9, STEPS - 1])
def test_a_kill_between_two_saves_takes_the_lost_steps_again(lab, stop):
    config = train(save_steps=3)
    lab.run("whole", config)
    lab.run("broken", config, stop)
    lab.run("broken", config)
    assert lab.end("broken") == lab.end("whole")
    assert lab.log("broken") == lab.log("whole")


def test_a_signal_saves_within_the_step_and_the_same_run_goes_on(lab):
    lab.run("whole", train(save_steps=5))
    for number, signum in ((2, signal.SIGTERM), (7, signal.SIGINT), (10, signal.SIGTERM)):
        memory = {"seen": 0}
        with pytest.raises(Stopped, match=f"stopped after step {number} of {STEPS}") as stopped:
            for step in fit.fit(lab.build(), lab.course, train(save_steps=5), lab.work("broken"), memory):
                memory["seen"] += 1
                if step.number == number:
                    os.kill(os.getpid(), signum)  # while the caller evaluates
        assert stopped.value.exit_code == 128 + signum
        assert checkpoint.newest(lab.folder / "broken" / "checkpoints").step == number
    lab.run("broken", train(save_steps=5))
    assert lab.end("broken") == lab.end("whole")


@pytest.mark.parametrize("moment", ["the last step", "the last save"])
def test_a_signal_at_the_end_is_not_lost_and_the_run_that_goes_on_has_all_steps(lab, monkeypatch, moment):
    lab.run("whole", train())
    save, memory = fit._save, {"seen": 0}

    def signalled(*arguments):
        if moment == "the last save" and memory["seen"] == STEPS:
            signal.raise_signal(signal.SIGTERM)
        save(*arguments)

    monkeypatch.setattr(fit, "_save", signalled)
    with pytest.raises(Stopped, match=f"stopped after the last of {STEPS} steps, all saved in .*broken; run the same"):
        for step in fit.fit(lab.build(), lab.course, train(), lab.work("broken"), memory):
            memory["seen"] += 1
            if moment == "the last step" and step.number == STEPS:
                signal.raise_signal(signal.SIGTERM)
    assert lab.end("broken") == lab.end("whole")
    assert list(fit.fit(lab.build(), lab.course, train(), lab.work("broken"), {})) == []


@pytest.mark.parametrize("first", ["", "no compiler"])
def test_a_run_that_goes_on_with_other_operations_says_so(lab, monkeypatch, capsys, first):
    for missing in (first, first, "" if first else "no compiler"):
        capsys.readouterr()
        monkeypatch.setattr(fit.native, "missing", lambda missing=missing: missing or None)
        fit.settled(train(), lab.work("run"))
        told = capsys.readouterr().err
        assert ("could not be compiled: no compiler" in told) == bool(missing)
        assert ("other dropout is drawn" in told) == (missing != first)


def test_a_run_that_goes_on_with_another_unit_for_products_says_so(lab, monkeypatch, capsys):
    monkeypatch.setattr(fit.native, "missing", lambda: None)
    for unit in ("AMX", "AMX", "AVX-512 BF16", None):
        capsys.readouterr()
        monkeypatch.setattr(fit.native, "unit", lambda unit=unit: unit)
        fit.settled(train(), lab.work("run"))
        told = f"products by AMX, and goes on with Lathe's in C, products by {unit or 'torch'}"
        assert (told in capsys.readouterr().err) == (unit != "AMX")


def test_weights_are_no_longer_those_of_a_file_when_training_begins(lab, tmp_path):
    lab.build().save_pretrained(tmp_path / "model")
    model = type(lab.build()).from_pretrained(tmp_path / "model")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit.quicken(model)
    with (tmp_path / "model" / "model.safetensors").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.write(bytes(size))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def spoilt(lab, row, factor):
    """The run's course with a bad row; and the steps that hold it."""
    ids = tuple(lab.course.source[row]["input_ids"])
    course = replace(lab.course, objective=Spoilt(lab.course.objective, ids, factor))
    steps = zip(range(1, STEPS + 1), course.plan.steps())  # noqa: B905 - the plan has no end
    return course, [number for number, (_, rows) in steps if row in rows]


def test_bad_steps_that_pass_are_the_same_after_any_stop(lab):
    course, bad = spoilt(lab, 4, math.nan)
    config = train(max_bad_steps=1, save_steps=2)
    lab.run("whole", config, course=course)
    for stop in (bad[0], bad[0] + 1, bad[1]):
        lab.run("broken", config, stop, course)
    lab.run("broken", config, course=course)
    assert lab.end("broken") == lab.end("whole")
    assert lab.log("broken") == lab.log("whole")
    told = [line for line in lab.log("whole") if line["event"] == "bad step"]
    assert [(line["step"], line["rows"]) for line in told] == [(number, [4]) for number in bad]


@pytest.mark.parametrize("count", [5, pytest.param(50, marks=pytest.mark.torture)])
def test_injected_nans_are_passed_over_named_and_change_nothing_else(lab, count):
    draw, total = random.Random(count), 3 * count
    steps = dict(zip(range(1, total + 1), lab.course.plan.steps()))  # noqa: B905 - the plan has no end
    bad = {number: int(draw.choice(steps[number][1])) for number in draw.sample(range(1, total + 1), count)}
    seeds = {
        int(row_seeds(lab.course.plan.seed, steps[n][0], lab.course.source.keys[[row]])[0]) for n, row in bad.items()
    }
    course = replace(lab.course, objective=Poisoned(lab.course.objective, frozenset(seeds)), total=total)
    config = train(max_bad_steps=count, save_steps=2)
    lab.run("whole", config, course=course)
    told = {line["step"]: line["rows"] for line in lab.log("whole") if line["event"] == "bad step"}
    assert told == {number: [row] for number, row in bad.items()}
    taken = {line["step"] for line in lab.log("whole") if line["event"] == "step"}
    assert taken == set(steps) - set(bad)
    for stop in sorted(draw.sample(range(1, total + 1), 4)):
        lab.run("broken", config, stop, course)
    lab.run("broken", config, course=course)
    assert lab.end("broken") == lab.end("whole")
    assert lab.log("broken") == lab.log("whole")
    print(f"SURVIVAL nans {count}")


def test_how_many_were_bad_in_a_row_survives_a_stop(lab):
    everything = replace(lab.course, objective=Spoilt(lab.course.objective, (), math.inf))
    lab.run("out", train(max_bad_steps=3), 2, everything)
    with pytest.raises(BadStep, match="step 4: "):
        lab.run("out", train(max_bad_steps=3), course=everything)


def test_a_spike_is_no_update_and_names_the_worst_row(lab, monkeypatch):
    monkeypatch.setattr("lathe.core.health.WINDOW", 4)
    course, bad = spoilt(lab, 7, 1e4)
    bad = [number for number in bad if number > 2]
    config = train(spike_sigma=6, max_bad_steps=1, learning_rate=1e-4)
    lab.run("whole", config, course=course)
    told = [line for line in lab.log("whole") if line["event"] == "bad step"]
    assert {line["step"] for line in told} >= set(bad)
    assert all(line["rows"] == [7] and "is a spike" in line["found"] for line in told if line["step"] in bad)
    lab.run("broken", config, 5, course)
    lab.run("broken", config, course=course)
    assert lab.end("broken") == lab.end("whole")


def test_a_rewind_takes_the_last_good_weights_and_passes_over_the_steps_since(lab):
    courses = [spoilt(lab, row, math.nan) for row in range(11)]
    course, bad = next(found for found in courses if found[1][0] == 4)
    at, config = 4, train(max_rewinds=9, save_steps=2)
    steps = fit.fit(model := lab.build(), course, config, lab.work("whole"), {})
    for step in steps:
        if step.number == at:
            break
    (rewind,) = [line for line in lab.log("whole") if line["event"] == "rewind" and line["step"] == at]
    anchor = checkpoint.of_step(lab.folder / "whole" / "checkpoints", rewind["to"])
    assert anchor.step == 2
    assert all(torch.equal(t, anchor.tensors[n]) for n, t in learn.saved_tensors(model).items())
    for _ in steps:
        pass
    for stop in (at - 1, at, at + 1, bad[-1]):
        lab.run("broken", config, stop, course)
        with pytest.raises(Stopped):  # a save that was not due must not become what a rewind goes back to
            for _ in fit.fit(lab.build(), course, config, lab.work("broken"), {"seen": 0}):
                os.kill(os.getpid(), signal.SIGTERM)
    lab.run("broken", config, course=course)
    whole, broken = lab.end("whole"), lab.end("broken")
    assert (whole[0], whole[1], whole[2]["health"]) == (broken[0], broken[1], broken[2]["health"])
    assert lab.log("broken") == lab.log("whole")


def test_rewinds_are_bounded(lab):
    everything = replace(lab.course, objective=Spoilt(lab.course.objective, (), math.nan))
    lab.run("out", train(max_rewinds=2), 3)
    with pytest.raises(BadStep, match="step 5: "):
        lab.run("out", train(max_rewinds=2), course=everything)
    assert [line["to"] for line in lab.log("out") if line["event"] == "rewind"] == [2, 3]


def test_a_rewind_must_not_be_up_to_a_clock(lab):
    with pytest.raises(RecipeError, match=r"give train\.save_steps too"):
        lab.run("out", train(max_rewinds=1, save_steps=None))


@contextmanager
def files_end_at(size):
    """A disk that refuses the byte after so many of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_training_goes_on_while_the_disk_takes_nothing_and_no_line_is_lost(lab, capsys):
    config = train(save_steps=2)
    lab.run("whole", config)
    steps = fit.fit(lab.build(), lab.course, config, lab.work("full"), memory := {"seen": 0})
    for step in steps:
        memory["seen"] += 1
        if step.number == 4:
            checkpoints = lab.folder / "full" / "checkpoints"
            with files_end_at(10):
                for _ in range(5):
                    next(steps)
                    memory["seen"] += 1
            assert [p.name for p in checkpoints.iterdir()] == ["step-000000002"]
    assert lab.end("full") == lab.end("whole")
    log = lab.log("full")
    assert [line for line in log if line["event"] != "not saved"] == lab.log("whole")
    assert sorted(line["step"] for line in log if line["event"] == "not saved") == [4, 6, 8]
    assert "step 6: not saved: " in (said := capsys.readouterr().err) and "training goes on" in said


def test_a_last_save_that_the_disk_refuses_says_so_and_the_same_run_goes_on(lab):
    config = train(save_steps=5)
    lab.run("whole", config)
    full = ExitStack()
    with pytest.raises(DiskError, match=r"cannot be written: .* MB needed, .* MB free.*run the same command again"):
        for step in fit.fit(lab.build(), lab.course, config, lab.work("full"), memory := {"seen": 0}):
            memory["seen"] += 1
            if step.number == 11:
                while not (lab.folder / "full" / "checkpoints" / "step-000000010").is_dir():
                    time.sleep(0.01)  # it is written beside training
                full.enter_context(files_end_at(9000))
    full.close()
    assert checkpoint.newest(lab.folder / "full" / "checkpoints").step == 10
    lab.run("full", config)
    assert lab.end("full") == lab.end("whole")


def test_a_save_that_ends_in_an_error_of_ours_ends_the_run(lab, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(checkpoint, "save", broken)
    with pytest.raises(ValueError, match="a bug"):
        lab.run("out", train())


def test_what_is_saved_is_the_state_of_its_step_though_training_goes_on(lab, monkeypatch):
    lab.run("plain", train(save_steps=STEPS - 4))
    gate, save = threading.Event(), checkpoint.save

    def late(*arguments):
        gate.wait()
        save(*arguments)

    monkeypatch.setattr(checkpoint, "save", late)
    seen = {}
    model = lab.build()
    for step in fit.fit(model, lab.course, train(save_steps=STEPS - 4), lab.work("late"), {}):
        if step.number == STEPS - 4:
            seen = {n: t.clone() for n, t in learn.saved_tensors(model).items()}
        if step.number == STEPS - 1:
            gate.set()  # three steps after the copy was taken
    kept = checkpoint.of_step(lab.folder / "late" / "checkpoints", STEPS - 4)
    assert all(torch.equal(t, kept.tensors[n]) for n, t in seen.items())
    assert not all(torch.equal(t, model.state_dict()[n.removeprefix("model/")]) for n, t in seen.items())


def test_a_checkpoint_of_another_model_is_refused_with_what_differs(lab, bert_config):
    lab.run("out", train(), 2)
    bert_config.num_labels = 3
    bert_config.intermediate_size = 16
    differs = r"is of another model(.|\n)*classifier\.weight: float32 \[2, 16\] there, float32 \[3, 16\] here"
    with pytest.raises(LatheError, match=differs):
        lab.run("out", train())


def test_a_full_disk_is_known_whichever_library_finds_it(tmp_path, tokenizer):
    with pytest.raises(DiskError, match="No space left"), writing(tmp_path / "a" / "b", 10**6):
        raise SafetensorError(f"Error while serializing: I/O error: No space left (os error {errno.ENOSPC})")
    with pytest.raises(DiskError, match="File too large"), writing(tmp_path), files_end_at(100):
        tokenizer.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "absent").read_bytes()
    with pytest.raises(LatheError, match="of another file"), writing(tmp_path):
        raise LatheError(f"of another file (os error {errno.ENOSPC})")
