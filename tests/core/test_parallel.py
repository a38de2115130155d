"""Training in two processes under torchrun: equal to one process, told once, stopped and resumed together."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from lathe.cli import main
from lathe.core import parallel, runtime
from lathe.core.batches import StepSize, deal, refuse_sizes
from lathe.core.digest import file_digest
from lathe.core.errors import LatheError, RecipeError
from lathe.core.work import read_log

WORKER = Path(__file__).with_name("parallel_worker.py")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60).map(lambda values: np.array(values, np.int64))
TOLERANCE = {"float64": 1e-9, "float32": 1e-6}
TOLD = {"simcse float32": 1e-4, "embed float32": 1e-4, "embed scored float32": 1e-4}
"""Of losses and norms of gradients: these divide cosines, and what they are rounded by, by a temperature of 0.05."""
ONCE = {  # what is refused -> what one of the processes says about it
    "too few rows a step": "train.batch_size: 1 is less than 2 processes",
    "too few tokens a step": "train.tokens_per_step: 10 is less than 2 processes need",
    "files gone": "train.tokens_per_step: 10 is less than 2 processes need",
    "too long a row": "train.tokens_per_batch: 3 is less than the longest row has, 7 tokens; raise it to 7 or more",
    "not for several": "`lathe predict` runs in one process only and torchrun has started 2",
    "wrong flag": "'--epochs': no such flag",
    "wrong option": "did you mean 'epochs'?",
    "wrong data": "there is nothing to tell apart",
    "one rank fails": "row 7 cannot be read",
    "disk full": "No space left on device",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where two processes have done all of parallel_worker.py."""
    folder = tmp_path_factory.mktemp("parallel")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [*command, str(WORKER), str(folder)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-9000:]
    (folder / "said.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def seen(folder) -> list[dict]:
    """By rank."""
    return [json.loads((folder / f"rank-{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


def weights(folder: Path, name: str) -> str:
    return file_digest(folder / name / "model.safetensors")


def test_two_ranks_take_the_step_that_one_takes(seen):
    """Invariant 1, for every objective and task: packed and padded, whole and cut, with partial steps."""
    for found in (one["equalities"] for one in seen):
        assert len(found) >= 20
        for name, case in found.items():
            tolerance = next(value for dtype, value in TOLERANCE.items() if dtype in name)
            assert case["weights"] <= tolerance, name
            assert case["told"] <= TOLD.get(name.partition(" padded")[0].partition(" packed")[0], 1e-6), name
            assert case["moved"] > 1e-3, name
            assert case["same"], f"{name}: other rows, tokens or items"
    assert any(1 in case["rows"] for case in seen[0]["equalities"].values()), "no step leaves a rank without a row"


def test_a_command_trains_in_two_processes_as_in_one(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["pretrain", "pretrain.toml", "-o", "alone"]) == 0
    one, two = (load_file(folder / name / "model.safetensors") for name in ("alone", "pretrained"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6
    steps = [[line for line in read_log(folder / name) if line["event"] == "step"] for name in ("alone", "pretrained")]
    for a, b in zip(*steps, strict=True):
        assert (a["rows"], a["tokens"], a["items"]) == (b["rows"], b["tokens"], b["items"])
        assert (a["loss"], a["grad_norm"]) == (
            pytest.approx(b["loss"], abs=2e-6),
            pytest.approx(b["grad_norm"], abs=2e-6),
        )


def test_only_rank_0_speaks_and_a_finished_run_is_found_by_both(seen):
    first, second = (one["commands"] for one in seen)
    for name in ("whole", "reused", "early", "pretrained", "resumed", "killed", "bad step"):
        assert (first[name]["code"], second[name]["code"]) == (0, 0), name
        assert (second[name]["out"], second[name]["err"]) == ("", ""), name
        assert json.loads(first[name]["out"].splitlines()[-1])["reused"] == (name == "reused")


def test_both_end_early_after_the_same_step(seen):
    made = json.loads(seen[0]["commands"]["early"]["out"].splitlines()[-1])["scores"]
    assert made["steps"] < made["planned_steps"]  # that the other has ended with it, the test above says


@pytest.mark.parametrize("name", list(ONCE))
def test_what_goes_wrong_ends_both_and_is_told_once(seen, folder, name):
    found = [one["commands"][name] for one in seen]
    assert [one["code"] for one in found] == [2, 2]
    told = [line for one in found for line in one["err"].splitlines() if line.startswith("lathe ")]
    assert len(told) == 1 and ONCE[name] in told[0]
    assert "Traceback" not in found[0]["err"] + found[1]["err"]
    objects = [json.loads(line) for one in found for line in one["out"].splitlines()]
    assert [made["exit_code"] for made in objects] == [2]
    assert not (folder / "refused").exists() and not (folder / "refused.work").exists()
    if name.startswith("too"):
        assert "new weights" not in found[0]["err"], "a model was loaded before"


def test_a_signal_to_one_rank_stops_both_after_the_same_step_and_all_is_saved(seen, folder):
    found = [one["commands"]["stopped"] for one in seen]
    assert [one["code"] for one in found] == [143, 143]
    told = [line for one in found for line in one["err"].splitlines() if line.startswith("lathe ")]
    assert len(told) == 1 and "stopped after step 4 of" in told[0]
    checkpoints = [path.name for path in (folder / "left.work" / "checkpoints").iterdir()]
    assert sorted(checkpoints) == ["step-000000002", "step-000000004"]
    assert weights(folder, "cut") == weights(folder, "whole")


def test_a_killed_rank_costs_no_bit_of_the_weights(seen, folder):
    assert [one["lost"] for one in seen] == [2, -signal.SIGKILL]
    said = (folder / "said.txt").read_text(encoding="utf-8")
    assert said.count("another process of this run has ended without a word") == 1
    assert "killed.work: going on with an unfinished run" in seen[0]["commands"]["killed"]["err"]
    assert weights(folder, "killed") == weights(folder, "whole")


def test_a_step_without_a_finite_loss_is_passed_over_by_both(folder):
    log = read_log(folder / "bad")
    assert [line["step"] for line in log if line["event"] == "bad step"] == [3]
    assert weights(folder, "bad") != weights(folder, "whole")


def test_a_spike_that_one_rank_sees_takes_both_back_and_a_stop_afterwards_costs_no_bit(seen, folder):
    codes = {name: [one["commands"][name]["code"] for one in seen] for name in seen[0]["commands"]}
    assert codes["rewound"] == codes["rewound and resumed"] == [0, 0]
    assert codes["rewound and stopped"] == [143, 143]
    for name in ("rewound", "rewound-cut"):
        told = [line for line in read_log(folder / name) if line["event"] in ("bad step", "rewind")]
        assert [(line["event"], line["step"]) for line in told] == [("bad step", 7), ("rewind", 7)]
        assert "is a spike" in told[0]["found"] and told[1]["to"] == 6
    assert seen[0]["commands"]["rewound"]["err"].count("went back to the weights of step 6") == 1
    assert weights(folder, "rewound") == weights(folder, "rewound-cut")
    assert weights(folder, "rewound") != weights(folder, "whole")


def test_a_run_does_not_go_on_with_another_number_of_processes(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["finetune", "finetune.toml", "-o", "left"]) == 2
    assert "began with 2 processes and would go on with 1" in capsys.readouterr().err
    assert (folder / "left.work" / "checkpoints").is_dir()


@given(LENGTHS, st.integers(1, 8))
def test_rows_are_dealt_evenly_and_each_to_one_rank(lengths, ranks):
    shares = deal(lengths, ranks)
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(lengths)))
    loads = [int(lengths[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= lengths.max()
    assert sum(map(bool, loads)) == min(ranks, len(lengths))
    assert all(np.all(np.diff(share) > 0) for share in shares)


@pytest.mark.parametrize(
    ("size", "bound", "ranks", "reason"),
    [
        (StepSize(4), 9, 1, "longest row has, 10 tokens"),
        (StepSize(4), 10, 4, "data.train: has 3 rows for 4 processes"),
        (StepSize(2), 10, 3, "train.batch_size: 2 is less than 3 processes"),
        (StepSize(29, "tokens"), 10, 3, "train.tokens_per_step: 29 is less than 3 processes need .* raise it to 30"),
    ],
)
def test_sizes_that_leave_a_rank_without_rows_are_refused(size, bound, ranks, reason):
    lengths = np.array([2, 10, 5])
    with pytest.raises(RecipeError, match=reason):
        refuse_sizes(lengths, size, bound, ranks)
    refuse_sizes(lengths, StepSize(30, "tokens"), 10, 3)
    refuse_sizes(lengths, StepSize(1), 10, 1)


def test_alone_nothing_is_exchanged():
    assert parallel.ranks() == (0, 1) and parallel.leads() and parallel.may_tell()
    assert parallel.gather({"a": 1}) == [{"a": 1}]
    assert parallel.once(lambda: "made") == "made"
    with parallel.joined():
        assert parallel.add_up({"a": 2, "b": 0.5}) == {"a": 2, "b": 0.5}


def test_a_stage_that_does_not_train_refuses_several_processes(monkeypatch, tmp_path):
    from lathe.core.work import run_stage

    for name, value in {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "MASTER_ADDR": "here"}.items():
        monkeypatch.setenv(name, value)
    assert runtime.launch() == (1, 3, 0, 1, 0)
    with pytest.raises(LatheError, match="`lathe corpus` runs in one process only and torchrun has started 3"):
        run_stage("corpus", None, tmp_path / "out", [], None)
