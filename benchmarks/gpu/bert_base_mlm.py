"""BERT-base, masked language model, packed rows of at most 128 tokens: tokens a second through Lathe's training loop.

    python benchmarks/gpu/bert_base_mlm.py                                  # goal: 0.8 M tokens/s on one H200
    python benchmarks/gpu/bert_base_mlm.py --layers 2 --width 64 --steps 3  # tries it out, also without a GPU

Real optimizer steps (forward, backward, clipping, AdamW) in bfloat16 on synthetic tokens, three rows in four full and
the others shorter, as text cut into rows is. Padding is not counted. No dropout: the kernel for GPUs has none.
Writes `benchmarks/results/gpu_bert_base_mlm.json`.
"""

import sys
from collections.abc import Sequence

import numpy as np
from training import SEED, arguments, measure
from transformers import BertConfig, BertForMaskedLM

from lathe.objectives import MaskedLM


def main(given: Sequence[str]) -> None:
    options = arguments(__doc__, length=128, vocabulary=30528).parse_args(given)
    config = BertConfig(
        vocab_size=options.vocabulary,
        max_position_embeddings=max(512, options.length),
        hidden_size=options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.width // 64),
        intermediate_size=4 * options.width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    draw = np.random.default_rng(SEED)
    rows = max(1, 4 * options.tokens_per_step // options.length)
    lengths = np.where(draw.random(rows) < 0.75, options.length, draw.integers(8, options.length + 1, rows)).tolist()
    measure("gpu_bert_base_mlm", 0.8e6, BertForMaskedLM(config), MaskedLM(), lengths, options)


if __name__ == "__main__":
    main(sys.argv[1:])
