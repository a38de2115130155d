"""The torch runtime: a Hugging Face model, padding-free where its family allows."""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lathe.core import packing
from lathe.core.runtime import Precision, autocast, dtype_of
from lathe.core.types import Forward


def torch_forward(model: PreTrainedModel, precision: Precision = "fp32") -> Forward:
    """``model`` as a function of its inputs; it may be called while the same model is being trained."""
    packing.enable(model)
    dtype = dtype_of(precision)

    def forward(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        place = next(model.parameters()).device
        model.eval()
        with torch.inference_mode(), autocast(place, dtype):
            outputs = model(**{name: tensor.to(place) for name, tensor in inputs.items()})
        return {name: value.float().cpu() for name, value in outputs.items() if isinstance(value, Tensor)}

    return forward
