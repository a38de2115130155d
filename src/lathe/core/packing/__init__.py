"""Padding-free layers for Hugging Face models.

A model's forward, positions, heads and losses stay its own, on padded [B, T]; its stack of layers runs on [1, N] real
tokens. The rest of Lathe knows nothing of layouts: it calls `enable` and goes on with ordinary batches.
"""

from lathe.core.packing.dropout import fast_dropout, torch_dropout
from lathe.core.packing.families import FAMILIES, why_padded
from lathe.core.packing.hooks import disable, enable, stacks
from lathe.core.packing.layers import fuse_layers, plain_layers
from lathe.core.packing.rows import labelled_rows

__all__ = [
    "FAMILIES",
    "disable",
    "enable",
    "fast_dropout",
    "fuse_layers",
    "labelled_rows",
    "plain_layers",
    "stacks",
    "torch_dropout",
    "why_padded",
]
