"""The peer: fine-tune a classifier with ``transformers.Trainer`` and its defaults; one seed, predictions as JSON.

    python benchmarks/peer_trainer.py MODEL_FOLDER DATA_FOLDER OUT.json --seed 0 [--max-steps 60] [--best]

float32, random batches of 32, dynamic padding, AdamW at 5e-5 with linear decay over 3 epochs: what a user gets who
sets nothing but the batch size. ``--best`` adds what makes it fastest: bf16, and rows of like length together.
"""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

BATCH = 32


class Rows(torch.utils.data.Dataset):
    """Tokenised rows of one JSON-lines file; ``labels`` are indices into the sorted names."""

    def __init__(self, file: Path, tokenizer, names: list[str]) -> None:
        rows = read(file)
        encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=256)
        self.rows = [
            {"input_ids": ids, "attention_mask": mask, "labels": names.index(row["label"])}
            for ids, mask, row in zip(encoded["input_ids"], encoded["attention_mask"], rows, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return self.rows[index]


class Curve(TrainerCallback):
    """Accuracy on validation and test every so many steps, and the seconds of training until then."""

    def __init__(self, data: Path, tokenizer, names: list[str], every: int) -> None:
        parts = [Rows(data / f"{split}.jsonl.gz", tokenizer, names).rows for split in ("validation", "test")]
        self.rows, self.validation = [row for part in parts for row in part], len(parts[0])
        self.collate, self.every = DataCollatorWithPadding(tokenizer), every
        self.points, self.seconds, self.started_s = [], 0.0, 0.0

    def on_train_begin(self, *_, **__) -> None:
        self.started_s = time.perf_counter()

    def on_step_end(self, arguments, state, control, model, **_) -> None:
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        self.seconds += time.perf_counter() - self.started_s
        model.eval()
        right: list[bool] = []
        with torch.inference_mode():
            for start in range(0, len(self.rows), 64):
                batch = self.collate(self.rows[start : start + 64])
                gold = batch.pop("labels")
                right += (model(**batch).logits.argmax(-1) == gold).tolist()
        model.train()
        of_validation = sum(right[: self.validation]) / self.validation
        point = {"step": state.global_step, "seconds": self.seconds, "validation": of_validation}
        self.points.append(point | {"accuracy": sum(right) / len(right)})
        self.started_s = time.perf_counter()


def read(file: Path) -> list[dict]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def plain_arguments(scratch: str, seed: int, **more: Any) -> TrainingArguments:
    """Its defaults, on the CPU, with nothing saved or logged."""
    return TrainingArguments(
        output_dir=scratch,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **more,
    )


def make_trainer(options: argparse.Namespace, scratch: str) -> tuple[Trainer, list[str]]:
    model_folder, data, seed = options.model, options.data, options.seed
    names = sorted({row["label"] for row in read(data / "train.jsonl.gz")})
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=len(names))
    arguments = plain_arguments(
        scratch,
        seed,
        max_steps=options.max_steps,
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        bf16=options.best,
        train_sampling_strategy="group_by_length" if options.best else "random",
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Rows(data / "train.jsonl.gz", tokenizer, names),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    return trainer, names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--best", action="store_true", help="its fastest setting: bf16, rows of like length together")
    parser.add_argument("--eval-every", type=int, default=0, help="steps between evaluations")
    parser.add_argument("--speed-only", action="store_true", help="train, but predict nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        trainer, names = make_trainer(options, scratch)
        curve = Curve(options.data, trainer.processing_class, names, options.eval_every) if options.eval_every else None
        if curve:
            trainer.add_callback(curve)
        started_s = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started_s
        result = {"seed": options.seed, "seconds": seconds, "steps": trainer.state.global_step, "names": names}
        result["rows_per_second"] = trainer.state.global_step * BATCH / seconds
        result["curve"] = curve.points if curve else []
        for split in () if options.speed_only else ("validation", "test"):
            rows = Rows(options.data / f"{split}.jsonl.gz", trainer.processing_class, names)
            answers = np.argmax(trainer.predict(rows).predictions, -1)
            result[split] = [int(a == row["labels"]) for a, row in zip(answers, rows.rows, strict=True)]
            result[f"{split}_accuracy"] = float(np.mean(result[split]))
    options.out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print({key: value for key, value in result.items() if not isinstance(value, list)})


if __name__ == "__main__":
    main()
