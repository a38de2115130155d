"""The peer: a causal model of characters with ``transformers.Trainer``; the loss on the way, and seconds of training.

    python benchmarks/peer_characters.py TRAIN.txt VALIDATION.txt OUT.json --target 1.90

GPT-2 with 4 layers of width 128, rows of 64 characters, 12 rows a step, AdamW with a cosine over 2,000 steps: nanoGPT's
settings for a laptop. Validation is measured every 10 steps, and its time does not count.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

CONTEXT, ROWS, EVERY = 64, 12, 10


class Rows(torch.utils.data.Dataset):
    def __init__(self, file: Path, ids: dict[str, int]) -> None:
        text = [ids[character] for character in file.read_text(encoding="utf-8") if character in ids]
        whole = len(text) // CONTEXT * CONTEXT
        self.rows = torch.tensor(text[:whole]).view(-1, CONTEXT)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


class Watch(TrainerCallback):
    """Measures the validation loss now and then, and the seconds in between; stops at the target."""

    def __init__(self, validation: torch.Tensor, target: float) -> None:
        self.validation, self.target = validation, target
        self.seconds, self.started_s = 0.0, time.perf_counter()
        self.curve: list[dict[str, float]] = []

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.started_s = time.perf_counter()

    def on_step_end(self, arguments, state, control, model, **_: object) -> None:
        if state.global_step % EVERY:
            return
        self.seconds += time.perf_counter() - self.started_s
        model.eval()
        with torch.inference_mode():
            loss = float(model(input_ids=self.validation, labels=self.validation).loss)
        model.train()
        tokens = state.global_step * ROWS * CONTEXT
        self.curve.append({"step": state.global_step, "tokens": tokens, "seconds": self.seconds, "loss": loss})
        control.should_training_stop = loss <= self.target
        self.started_s = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--target", type=float, default=1.90)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ids = {c: i for i, c in enumerate(sorted(set(options.train.read_text(encoding="utf-8"))))}
    torch.manual_seed(options.seed)
    shape = GPT2Config(
        vocab_size=len(ids), n_layer=4, n_head=4, n_embd=128, n_positions=CONTEXT,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    watch = Watch(Rows(options.validation, ids).rows, options.target)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch, per_device_train_batch_size=ROWS, max_steps=options.steps, seed=options.seed,
            use_cpu=True, learning_rate=options.learning_rate, lr_scheduler_type="cosine", warmup_steps=100,
            weight_decay=0.1, adam_beta2=0.99, bf16=options.bf16, save_strategy="no",
            logging_strategy="no", report_to=[], disable_tqdm=True,
        )  # fmt: skip
        Trainer(GPT2LMHeadModel(shape), arguments, train_dataset=Rows(options.train, ids), callbacks=[watch]).train()
    options.out.write_text(json.dumps(watch.curve) + "\n", encoding="utf-8")
    print(watch.curve[-1])


if __name__ == "__main__":
    main()
