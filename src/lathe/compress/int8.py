"""Int8: the model as an ONNX graph whose weights take one byte each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lathe.compress.candidate import Candidate, Splits, batch_logits, logits_of
from lathe.core.bundle import Runtime
from lathe.core.errors import GateError, LatheError
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.types import Encoded, Forward, Symbols
from lathe.core.work import Work
from lathe.runtimes import onnx
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnyTask

EXPORT_TOLERANCE = 1e-4
"""Largest difference of a logit between torch and the exported float32 graph."""
BATCH_SIZES = (1, 2, 3, 5, 8)


@recipe
class Int8:
    """Export to ONNX, check the graph against torch, then store its weights in int8 with a scale for each channel."""

    kind: Literal["int8"] = "int8"

    def check(self, teacher: Path, tokenizer: Any, splits: Splits, task: AnyTask) -> None:
        """What can be known to be wrong before a model is loaded."""
        onnx.require()

    def __call__(self, given: Candidate, teacher: Candidate, work: Work, folder: Path) -> Candidate:
        """Write the int8 graph into ``folder``. Raises ``GateError`` where the float32 graph differs from torch."""
        if given.model is None:
            raise LatheError(f"{given.name}: is no torch model, so it cannot be exported")
        task, tokenizer = given.predictor.task, given.predictor.tokenizer
        source, symbols = given.splits["validation"].source, Symbols.of(tokenizer)
        rows = source.rows
        names = tuple(task.collate(rows[:1], source.keys[:1], symbols).inputs)
        model, exact = given.model.to("cpu"), work.path / "float32.onnx"  # type: ignore[arg-type]
        onnx.export(model, exact, names)
        reference = torch_forward(model)
        error = export_error(reference, onnx.onnx_forward(exact), rows, task, symbols)
        say(f"exported: largest difference of a logit {error:.1e}")
        onnx.quantize(exact, folder / onnx.GRAPH)
        exact.unlink()
        tokenizer.save_pretrained(folder)
        model.config.save_pretrained(folder)
        forward = onnx.each_row(onnx.onnx_forward(folder / onnx.GRAPH))
        drift = drift_of(logits_of(reference, rows, task, symbols), logits_of(forward, rows, task, symbols))
        files = (onnx.GRAPH, "tokenizer.json", "tokenizer_config.json", "config.json")
        runtime = Runtime(kind="onnx", precision="int8", files=files)
        notes = {"export_error": error, "drift_max": drift.largest, "drift_mean": drift.mean}
        predictor = TaskPredictor(task, tokenizer, forward)
        return Candidate("int8", predictor, folder, runtime, given.splits, None, notes)


class Drift(NamedTuple):
    """How far logits have moved, in nats."""

    largest: float
    mean: float


def export_error(
    reference: Forward, exported: Forward, rows: Sequence[Encoded], task: AnyTask, symbols: Symbols
) -> float:
    """Largest difference of a logit, on rows in batches of several shapes. Raises ``GateError`` above the tolerance."""
    by_length = sorted(rows, key=lambda row: len(row["input_ids"]))
    errors = []
    for size in BATCH_SIZES:
        for batch in (by_length[:size], by_length[-size:], by_length[:: max(1, len(rows) // size)][:size]):
            exact, found = (batch_logits(forward, batch, task, symbols) for forward in (reference, exported))
            errors.append(drift_of(exact, found).largest)
    worst = float(np.max(errors))
    if not worst <= EXPORT_TOLERANCE:  # a NaN fails too
        raise GateError(
            f"export: logits differ from torch by up to {worst:.2e} (tolerance {EXPORT_TOLERANCE:.0e}); "
            "nothing is published. This torch cannot export this architecture; leave out the step int8"
        )
    return worst


def drift_of(before: Sequence[Tensor], after: Sequence[Tensor]) -> Drift:
    moved = (torch.cat(list(before)) - torch.cat(list(after))).abs().numpy()
    return Drift(float(np.max(moved, initial=0.0)), float(moved.mean()) if moved.size else 0.0)
