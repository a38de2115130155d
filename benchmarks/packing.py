"""What padding costs: one forward and backward pass of a small encoder, padded and packed.

Run ``python benchmarks/packing.py --threads 1``. Figures are milliseconds of processor time: the median of steps with
*new* lengths (as in training: a processor compiles its bfloat16 products for every new shape) beside the fastest
repetition of one batch. Layouts take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from lathe.core import packing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--longest", type=int, default=60)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    batches = [_batch(options.rows, options.longest) for _ in range(options.steps)]
    layouts = {name: _model(options.dropout, setup) for name, setup in LAYOUTS.items()}
    new: dict[str, list[float]] = {name: [] for name in layouts}
    same: dict[str, list[float]] = {name: [] for name in layouts}
    for batch in batches:
        for name, model in layouts.items():
            new[name].append(_milliseconds(model, batch))
    for _ in range(options.steps):
        for name, model in layouts.items():
            same[name].append(_milliseconds(model, batches[0]))
    for name in layouts:
        print(
            f"{name:16s} new lengths {statistics.median(new[name]):6.1f} ms   one batch again {min(same[name]):6.1f} ms"
        )


def _packed_with_fast_dropout(model: BertForSequenceClassification) -> None:
    packing.enable(model)
    packing.fast_dropout(model)


LAYOUTS: dict[str, Callable[[BertForSequenceClassification], object]] = {
    "padded": packing.disable,
    "packed": packing.enable,
    "packed, dropout": _packed_with_fast_dropout,
}


def _model(dropout: float, setup: Callable[[BertForSequenceClassification], object]) -> BertForSequenceClassification:
    """The size of MiniLM: 6 layers of width 384, 12 heads."""
    config = BertConfig(
        vocab_size=2000,  # the gradient of the word embeddings is not what is measured
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    model = BertForSequenceClassification(config).train()
    setup(model)
    return model


def _batch(rows: int, longest: int) -> dict[str, Tensor]:
    lengths = torch.randint(5, longest + 1, (rows,))
    mask = torch.arange(int(lengths.max())) < lengths[:, None]  # [B, T]
    return {"input_ids": torch.randint(5, 2000, mask.shape) * mask, "attention_mask": mask.long()}


def _milliseconds(model: BertForSequenceClassification, batch: dict[str, Tensor]) -> float:
    model.zero_grad(set_to_none=False)
    started_s = time.process_time()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch).logits.float().square().sum()
    loss.backward()
    return (time.process_time() - started_s) * 1e3


if __name__ == "__main__":
    main()
