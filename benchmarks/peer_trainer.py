"""The peer: fine-tune a classifier with ``transformers.Trainer`` and its defaults; one seed, predictions as JSON.

    python benchmarks/peer_trainer.py MODEL_FOLDER DATA_FOLDER OUT.json --seed 0 [--max-steps 60]

float32, random batches of 32, dynamic padding, AdamW at 5e-5 with linear decay over 3 epochs: what a user gets who
sets nothing but the batch size.
"""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
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


def read(file: Path) -> list[dict]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def make_trainer(model_folder: Path, data: Path, seed: int, max_steps: int, scratch: str) -> tuple[Trainer, list[str]]:
    names = sorted({row["label"] for row in read(data / "train.jsonl.gz")})
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=len(names))
    arguments = TrainingArguments(
        output_dir=scratch,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        max_steps=max_steps,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
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
    parser.add_argument("--speed-only", action="store_true", help="train, but predict nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        trainer, names = make_trainer(options.model, options.data, options.seed, options.max_steps, scratch)
        started_s = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started_s
        result = {"seed": options.seed, "seconds": seconds, "steps": trainer.state.global_step, "names": names}
        result["rows_per_second"] = trainer.state.global_step * BATCH / seconds
        for split in () if options.speed_only else ("validation", "test"):
            rows = Rows(options.data / f"{split}.jsonl.gz", trainer.processing_class, names)
            answers = np.argmax(trainer.predict(rows).predictions, -1)
            result[split] = [int(a == row["labels"]) for a, row in zip(answers, rows.rows, strict=True)]
            result[f"{split}_accuracy"] = float(np.mean(result[split]))
    options.out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print({key: value for key, value in result.items() if not isinstance(value, list)})


if __name__ == "__main__":
    main()
