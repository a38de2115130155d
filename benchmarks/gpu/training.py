"""What the benchmarks for GPUs share: synthetic rows, Lathe's own training loop, the fraction of the measured peak."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

from lathe.core import fit, learn, runtime
from lathe.core.batches import EncodedRows, Plan, StepSize, ahead, batches
from lathe.core.keyed import row_keys
from lathe.core.learn import Train
from lathe.core.optim import AdamW
from lathe.core.profile import Enough, Profile, peak_flops, watched
from lathe.core.types import Objective, Symbols

SEED = 0


def arguments(description: str | None, length: int, vocabulary: int) -> argparse.ArgumentParser:
    """The options of both; their defaults are the claim on a GPU, and small enough to try on a CPU."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768, help="in heads of 64")
    parser.add_argument("--length", type=int, default=length, help="tokens of the longest row")
    parser.add_argument("--vocabulary", type=int, default=vocabulary)
    parser.add_argument("--tokens-per-step", type=int, default=1 << 19 if on_gpu else 1 << 12)
    parser.add_argument("--tokens-per-batch", type=int, default=1 << 16 if on_gpu else 1 << 12)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--steps", type=int, default=20, help="timed, after --warm-up")
    parser.add_argument(
        "--torch-compile", action="store_true", help="as train.torch_compile: by the first step's batches"
    )
    parser.add_argument("--warm-up", type=int, default=5)
    return parser


def measure(
    name: str, goal: float, model: PreTrainedModel, objective: Objective, lengths: Sequence[int], options: Any
) -> None:
    """Take real steps on rows of these lengths, and write tokens a second and the fraction of the measured peak."""
    place = runtime.set_up()
    model.to(place)
    padded = fit.quicken(model)
    config = Train(
        learning_rate=6e-4, optimizer=AdamW(adam_beta2=0.95), precision=options.precision,
        tokens_per_batch=options.tokens_per_batch, seed=SEED, torch_compile=options.torch_compile,
    )  # fmt: skip
    draw = np.random.default_rng(SEED)
    rows = [{"input_ids": draw.integers(5, options.vocabulary, length).tolist()} for length in lengths]
    source = EncodedRows(rows, row_keys("synthetic", len(rows)))
    symbols = Symbols(pad=0, mask=4, size=options.vocabulary, special=(0, 1, 2, 3, 4))
    plan = Plan(source.lengths, StepSize(options.tokens_per_step, "tokens"), SEED)
    watch = Profile(options.warm_up, options.steps, profiled=1)
    total = options.warm_up + options.steps + 1
    losses: list[float] = []
    given = (source, objective, symbols, plan, options.tokens_per_batch)
    compiled = fit.compiled(model, fit.Course(objective, source, symbols, plan, total), plan, config)
    with closing(ahead(batches(*given))) as steps, watched(watch), compiled:
        try:
            state = learn.State(config.optimizer(model))
            for step in learn.train(model, objective, steps, config, total, state):
                losses.append(step.loss)
        except Enough:
            pass
    dtype, seconds = runtime.dtype_of(config.precision), sum(watch.seconds)
    peak = peak_flops(dtype, place, size=8192 if place.type == "cuda" else 1024)
    flops = watch.flops / watch.flop_tokens * watch.tokens / seconds
    values = {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else runtime.processor(),
        "options": vars(options),
        "parameters": model.num_parameters(),
        "layers_run": "packed" if padded is None else padded,
        "tokens_per_second": watch.tokens / seconds,
        "goal_tokens_per_second_on_one_h200": goal,
        "step_seconds": watch.seconds,
        "flops_per_second": flops,
        "peak_flops_per_second": peak,
        "fraction_of_peak": flops / peak,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
    common.write_result(name, values)
