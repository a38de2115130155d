"""What objectives of encoder-decoders share: a sequence in, another one out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lathe.core.batches import pad_rows
from lathe.core.types import IGNORE, Batch, Part, Symbols
from lathe.objectives.spans import Ids
from lathe.objectives.vocabulary import vocabulary_loss


def sequence_batch(sources: Sequence[Ids], targets: Sequence[Ids], symbols: Symbols, name: str) -> Batch:
    """The encoder reads ``sources`` [B, T]; ``targets`` are the labels, [B, S]. A target may be empty."""
    input_ids, attention_mask = pad_rows([{"input_ids": ids} for ids in sources], symbols)  # [B, T]
    lengths = np.array([len(ids) for ids in targets])
    position = np.arange(max(lengths.max(), 1))
    labels = np.full((len(targets), len(position)), IGNORE)
    labels[position < lengths[:, None]] = np.concatenate(targets)
    read = position < np.maximum(lengths, 1)[:, None]  # a decoder always reads its start token
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "decoder_attention_mask": read.astype(np.int64)}
    tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
    return Batch(tensors, {"labels": torch.from_numpy(labels)}, {name: int(lengths.sum())})


def sequence_loss(model: Any, batch: Batch, name: str, smoothing: float = 0.0) -> Part:
    """-sum log P(target_s | target_<s, source); the decoder reads the target as the model shifts it."""
    before = model.prepare_decoder_input_ids_from_labels(batch.targets["labels"])  # [B, S]
    return vocabulary_loss(model, replace(batch, inputs={**batch.inputs, "decoder_input_ids": before}), name, smoothing)
