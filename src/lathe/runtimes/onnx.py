"""The ONNX runtime: export, int8 weights, a session. The only file that imports onnx, onnxscript and onnxruntime."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import PreTrainedModel

from lathe.core import packing
from lathe.core.errors import BundleError, LatheError
from lathe.core.runtime import cores
from lathe.core.types import Forward

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
GRAPH = "model.int8.onnx"
"""Name of the graph in a bundle."""
INT8_OPERATORS = ("MatMul", "Gemm", "Gather")
"""What gets int8 weights: products, and the embedding table that is most of a small model."""


def require(*names: str) -> list[ModuleType]:
    """The optional libraries; raises ``LatheError`` with the command that installs them."""
    try:
        return [import_module(name) for name in names or ("onnx", "onnxscript", "onnxruntime")]
    except ImportError as error:
        raise LatheError(f"ONNX models need {error.name}: pip install 'lathe[onnx]'") from None


def onnx_forward(file: Path) -> Forward:
    """A graph as a function of its inputs [B, T], ``input_ids``, ``attention_mask`` and so on, on the processor.

    Token types that a row does not have are 0, as in the model that the graph was made from.

    Memory goes back after each call: an arena would keep the largest batch's forever.
    """
    (ort,) = require("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to others while waiting
    options.log_severity_level = 3  # errors
    raised = ort.capi.onnxruntime_pybind11_state
    try:
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except (raised.Fail, raised.InvalidProtobuf, raised.InvalidGraph, raised.NotImplemented) as error:
        raise BundleError(f"{file}: not a graph that onnxruntime opens ({str(error).splitlines()[0]})") from None
    names = [one.name for one in session.get_inputs()]
    outputs = [output.name for output in session.get_outputs()]

    def forward(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        zeros = torch.zeros_like(inputs["input_ids"])
        answers = session.run(outputs, {name: inputs.get(name, zeros).numpy() for name in names})
        return {name: torch.from_numpy(array) for name, array in zip(outputs, answers, strict=True)}

    return forward


def each_row(forward: Forward) -> Forward:
    """The same function, but every row runs alone and without its padding; rows run side by side where there are cores.

    An int8 graph scales its activations by the extremes of the whole tensor, so that in a batch a row's answer would
    depend on the rows beside it.
    """
    side_by_side = ThreadPoolExecutor(cores()).map if cores() > 1 else map

    def rows(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        real = inputs["attention_mask"].bool()  # [B, T]
        alone = [{name: tensor[i : i + 1, real[i]] for name, tensor in inputs.items()} for i in range(len(real))]
        logits = [outputs[OUTPUT][0] for outputs in side_by_side(forward, alone)]  # of each row: [C] or [its T, C]
        if logits[0].ndim == 1:
            return {OUTPUT: torch.stack(logits)}
        padded = logits[0].new_zeros(*real.shape, logits[0].shape[-1])  # [B, T, C]
        padded[real] = torch.cat(logits)
        return {OUTPUT: padded}

    return rows


def export(model: PreTrainedModel, file: Path, names: Sequence[str] = INPUTS) -> None:
    """Write ``model`` as a float32 graph of the inputs ``names``, for any batch size and length.

    What the exporter notes about every node (source lines, paths of this machine) is taken out.
    """
    onnx, *_ = require()
    packing.disable(model)
    place = next(model.parameters()).device
    sample = torch.ones(2, 7, dtype=torch.int64, device=place)  # [B, T]; sizes of 0 and 1 would be taken for constants
    dimensions = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    with _quiet():
        torch.onnx.export(
            _Logits(model).eval(),
            tuple(sample.clone() for _ in names),
            file,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_shapes=dict.fromkeys(names, dimensions),
        )
    graph = onnx.load(file)
    _strip(graph)
    onnx.save(graph, file)


def quantize(source: Path, target: Path) -> None:
    """Weights in int8, one scale for each output channel; activations are quantised as they come, one scale each."""
    require()
    quantization: Any = import_module("onnxruntime.quantization")
    with _quiet():
        quantization.quantize_dynamic(
            source,
            target,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(INT8_OPERATORS),
        )


class _Logits(nn.Module):
    """Some tensors in, one out."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


def _strip(model: Any) -> None:
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Both exporter and quantiser say at each run what nobody can act on; errors still come through."""
    disabled, handlers = logging.root.manager.disable, list(logging.root.handlers)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # logging.warning() puts one there
