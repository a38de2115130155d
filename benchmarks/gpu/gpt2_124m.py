"""GPT-2 with 124M parameters, causal, rows of 1,024 tokens: tokens a second through Lathe's own training loop.

    python benchmarks/gpu/gpt2_124m.py                                  # goal: 0.55 M tokens/s on one H200
    python benchmarks/gpu/gpt2_124m.py --layers 2 --width 64 --steps 3  # tries it out, also without a GPU

Real optimizer steps (forward, backward, clipping, AdamW) in bfloat16 on synthetic tokens, without dropout.
Writes `benchmarks/results/gpu_gpt2_124m.json`.
"""

import sys
from collections.abc import Sequence

from training import arguments, measure
from transformers import GPT2Config, GPT2LMHeadModel

from lathe.objectives import CausalLM


def main(given: Sequence[str]) -> None:
    options = arguments(__doc__, length=1024, vocabulary=50304).parse_args(given)
    config = GPT2Config(
        vocab_size=options.vocabulary,
        n_positions=options.length,
        n_embd=options.width,
        n_layer=options.layers,
        n_head=max(1, options.width // 64),
        activation_function="gelu_pytorch_tanh",  # GPT-2's own formula, in one operation
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    lengths = [options.length] * max(1, 4 * options.tokens_per_step // options.length)
    measure("gpu_gpt2_124m", 0.55e6, GPT2LMHeadModel(config), CausalLM(), lengths, options)


if __name__ == "__main__":
    main(sys.argv[1:])
