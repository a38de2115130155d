"""Where a new head begins: at how often each of its outputs is right."""

from collections.abc import Sequence

import torch
from torch import nn

from lathe.models.pretrained import Opened


def begin_with(log_prior: Sequence[float], opened: Opened) -> None:
    """Set the biases of a new head's outputs to ``log_prior``; one that was learnt before stays as it is.

    From biases of zero the quickest way to "nearly always O" is through the whole encoder: its states of all words
    become one, from which no word is found any more (Lin et al., 2017, *Focal Loss for Dense Object Detection*, 4.1).
    """
    body = {id(parameter) for parameter in opened.model.base_model.parameters()}
    for name, module in opened.model.named_modules():
        bias = module.bias if isinstance(module, nn.Linear) else None
        is_new = f"{name}.bias" in opened.new or opened.new == ("all",)
        if bias is not None and is_new and id(bias) not in body and len(bias) == len(log_prior):
            with torch.no_grad():
                bias.copy_(torch.tensor(log_prior))
