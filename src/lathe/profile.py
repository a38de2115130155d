"""``lathe profile``: where the time of a training step goes, on this machine, for a recipe as it stands."""

import tempfile
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pydantic import Field

from lathe.core import native, runtime
from lathe.core.errors import RecipeError, Stopped
from lathe.core.profile import Enough, Profile, peak_flops, watched
from lathe.core.recipe import recipe
from lathe.core.report import Told
from lathe.training import open_training


@recipe
class Recipe:
    recipe: Path
    """A recipe of `pretrain` or `finetune`: TOML with its `verb`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options on top of the file's: options.train.batch_size=64."""
    warm_up: int = Field(10, ge=1)
    """Steps that are taken first and not counted."""
    steps: int = Field(30, ge=1)
    """Steps that are timed."""
    profiled: int = Field(10, ge=1)
    """Steps under torch's profiler, for the shares."""
    operations: int = Field(0, ge=0)
    """How many single operations to list, the most expensive first."""


def run(recipe: Recipe) -> Told:
    """Take the first steps of a training run in a folder that is thrown away, and tell what they cost."""
    training = open_training(recipe.recipe, recipe.options)
    profile = Profile(recipe.warm_up, recipe.steps, recipe.profiled)
    with tempfile.TemporaryDirectory() as folder, watched(profile):
        try:
            training.stage.run(training.recipe, Path(folder) / "run")
        except Enough:
            pass
        except Stopped as stopped:
            raise Stopped("stopped; a profile keeps nothing", stopped.signum) from None
        else:
            needed = recipe.warm_up + recipe.steps + recipe.profiled
            raise RecipeError(f"{recipe.recipe}: its run ended before {needed} steps; lower warm_up, steps or profiled")
    values = _figures(profile, runtime.dtype_of(training.recipe.train.precision))
    return Told("\n".join(_lines(f"{recipe.recipe}", profile, values, recipe.operations)), values)


def _figures(profile: Profile, dtype: torch.dtype) -> dict[str, Any]:
    total, peak = sum(profile.seconds), peak_flops(dtype, runtime.device())
    flops = profile.flops / profile.flop_tokens * profile.tokens / total
    shares = {kind: seconds / profile.profiled_seconds for kind, seconds in profile.kinds.items()}
    waiting = max(0.0, 1 - sum(shares.values()))
    return {
        "step_seconds": median(profile.seconds),
        "rows_per_second": profile.rows / total,
        "tokens_per_second": profile.tokens / total,
        "padding": 1 - profile.tokens / profile.positions,
        "precision": "bf16" if dtype == torch.bfloat16 else "fp32",
        "flops_per_second": flops,
        "peak_flops_per_second": peak,
        "fraction_of_peak": flops / peak,
        "operations_missing": native.missing() if runtime.device().type == "cpu" else None,
        "shares": dict(sorted(shares.items(), key=lambda item: -item[1])) | {"Python and waiting": waiting},
    }


def _lines(name: str, profile: Profile, values: dict[str, Any], operations: int) -> Iterator[str]:
    yield f"{name}: {runtime.processor()}, {values['precision']}, {len(profile.seconds)} steps"
    yield f"  step        {1e3 * values['step_seconds']:,.1f} ms (median)"
    yield f"  rates       {values['rows_per_second']:,.0f} rows/s, {values['tokens_per_second']:,.0f} tokens/s"
    yield f"  padding     {values['padding']:.0%} of the positions of its batches; a family that runs packed skips them"
    done, peak = values["flops_per_second"] / 1e9, values["peak_flops_per_second"] / 1e9
    yield f"  arithmetic  {done:,.0f} GFLOP/s, {values['fraction_of_peak']:.0%} of the {peak:,.0f} of one large product"
    if missing := values["operations_missing"]:
        yield f"  operations  torch's own, which are slower: Lathe's could not be compiled: {missing}"
    yield f"  where {1e3 * profile.profiled_seconds:,.1f} ms go (a step under the profiler, which slows it down)"
    for kind, share in values["shares"].items():
        spent_ms, bar = 1e3 * share * profile.profiled_seconds, "█" * round(40 * share)
        yield f"    {kind:<28} {share:4.0%} {spent_ms:8.1f} ms  {bar}"
    for operation, seconds in sorted(profile.operations.items(), key=lambda item: -item[1])[:operations]:
        yield f"    {operation[:44]:<44} {1e3 * seconds:8.2f} ms"
