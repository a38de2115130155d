"""The benchmarks for GPUs run, small, on any machine: what they would write is what they say."""

import importlib
import json
import sys
from pathlib import Path

import pytest

SMALL = ["--layers", "2", "--width", "64", "--steps", "3", "--warm-up", "1", "--length", "32", "--vocabulary", "128"]
SIZES = ["--tokens-per-step", "256", "--tokens-per-batch", "128", "--precision", "fp32"]


@pytest.mark.parametrize("name", ["gpt2_124m", "bert_base_mlm"])
def test_they_run_small_and_write_a_result(name, tmp_path, monkeypatch):
    folder = Path(__file__).parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder / "gpu"))
    monkeypatch.syspath_prepend(str(folder))
    modules = {module: importlib.import_module(module) for module in ("common", "training", name)}
    try:
        monkeypatch.setattr(modules["common"], "RESULTS", tmp_path)
        modules[name].main([*SMALL, *SIZES])
    finally:
        for module in modules:
            del sys.modules[module]
    result = json.loads((tmp_path / f"gpu_{name}.json").read_text(encoding="utf-8"))
    assert result["layers_run"] == "packed"
    assert len(result["step_seconds"]) == 3
    assert result["tokens_per_second"] > 0 and 0 < result["fraction_of_peak"] < 1.5
    assert 0 < result["last_loss"] < 6 > result["first_loss"] > 0  # log 128 is 4.9
