"""The peer: a plain ``transformers.Trainer`` script for tagging or question answering; answers as JSON.

    python benchmarks/peer_tasks.py tag MODEL_FOLDER TRAIN.jsonl TEST.jsonl OUT.json --seed 0
    python benchmarks/peer_tasks.py answer MODEL_FOLDER TRAIN.jsonl TEST.jsonl OUT.json --seed 0

What a careful user writes by hand: the first piece of a word carries its tag, the others none; long contexts in windows
of 384 tokens that share 128, answers placed by offsets, windows without the answer taught the first token. All else is
as the library has it: float32, AdamW at 5e-5 with linear decay over 3 epochs; 32 rows a step.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_trainer import plain_arguments
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
)

WINDOW, STRIDE, BEST, LONGEST_ANSWER = 384, 128, 20, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["tag", "answer"])
    for name in ("model", "train", "test", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, test = (list(map(json.loads, file.open(encoding="utf-8"))) for file in (options.train, options.test))
    answers = (tagged if options.task == "tag" else answered)(options, train, test)
    options.out.write_text(json.dumps(answers, ensure_ascii=False) + "\n", encoding="utf-8")


def trained(model: Any, tokenizer: Any, collator: Any, rows: list[dict[str, Any]], seed: int, scratch: str) -> Trainer:
    arguments = plain_arguments(scratch, seed)
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, data_collator=collator, processing_class=tokenizer
    )
    trainer.train()
    return trainer


# ------------------------------------------------------------------------------------------------------------ tagging


def tagged(options: argparse.Namespace, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> list[list[str]]:
    """A tag for each token of each test row."""
    names = sorted({tag for row in train for tag in row["tags"]})
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    torch.manual_seed(options.seed)
    model = AutoModelForTokenClassification.from_pretrained(options.model, num_labels=len(names))
    lessons = [lesson(row, tokenizer, names) for row in train]
    questions = [lesson({"tokens": row["tokens"]}, tokenizer, names) for row in test]
    with tempfile.TemporaryDirectory() as scratch:
        trainer = trained(
            model, tokenizer, DataCollatorForTokenClassification(tokenizer), lessons, options.seed, scratch
        )
        scores = trainer.predict(questions).predictions  # [rows, longest, tags]
    answers = []
    for row, question, found in zip(test, questions, scores.argmax(-1), strict=True):
        firsts = [place for place, label in enumerate(question["labels"]) if label >= 0]
        said = [names[found[place]] for place in firsts]
        answers.append(said + ["O"] * (len(row["tokens"]) - len(said)))
    return answers


def lesson(row: dict[str, Any], tokenizer: Any, names: list[str]) -> dict[str, Any]:
    """One row; where the tags are not known, 0 stands at each first piece."""
    found = tokenizer(row["tokens"], is_split_into_words=True, truncation=True, max_length=256)
    tags = row.get("tags", [names[0]] * len(row["tokens"]))
    labels, before = [], None
    for word in found.word_ids():
        labels.append(-100 if word is None or word == before else names.index(tags[word]))
        before = word
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"], "labels": labels}


# ------------------------------------------------------------------------------------------------- question answering


def answered(options: argparse.Namespace, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> list[str]:
    """The answer to each test question."""
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    torch.manual_seed(options.seed)
    model = AutoModelForQuestionAnswering.from_pretrained(options.model)
    lessons = [window["inputs"] for row in train for window in windows(row, tokenizer)]
    parts = [(number, window) for number, row in enumerate(test) for window in windows(row, tokenizer)]
    with tempfile.TemporaryDirectory() as scratch:
        trainer = trained(model, tokenizer, DataCollatorWithPadding(tokenizer), lessons, options.seed, scratch)
        starts, ends = trainer.predict([window["inputs"] for _, window in parts]).predictions[:2]
    best = [(float("-inf"), "")] * len(test)
    for (number, window), start, end in zip(parts, starts, ends, strict=True):
        best[number] = max(best[number], *spans(window["places"], start, end, test[number]["context"]))
    return [text for _, text in best]


def windows(row: dict[str, Any], tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Model inputs with the places of the answer, and of each context token its characters (None: not of it)."""
    found = tokenizer(
        row["question"],
        row["context"],
        truncation="only_second",
        max_length=WINDOW,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    first = row["answers"]["answer_start"][0]
    last = first + len(row["answers"]["text"][0])
    for number, ids in enumerate(found["input_ids"]):
        of_context = [part == 1 for part in found.sequence_ids(number)]
        places = [
            place if inside else None for place, inside in zip(found["offset_mapping"][number], of_context, strict=True)
        ]
        start = next((i for i, place in enumerate(places) if place and place[0] <= first < place[1]), 0)
        end = next((i for i, place in enumerate(places) if place and place[0] < last <= place[1]), 0)
        if not (start and end):
            start = end = 0
        inputs = {"input_ids": ids, "token_type_ids": found["token_type_ids"][number]}
        inputs |= {"attention_mask": found["attention_mask"][number], "start_positions": start, "end_positions": end}
        yield {"inputs": inputs, "places": places}


def spans(
    places: list[tuple[int, int] | None], start: np.ndarray, end: np.ndarray, context: str
) -> list[tuple[float, str]]:
    """Of the best starts and ends the pairs that are a stretch of the context, with their scores."""
    found = [(float("-inf"), "")]
    ends = [int(i) for i in np.argsort(-end)[:BEST] if i < len(places) and places[i]]
    for i in map(int, np.argsort(-start)[:BEST]):
        if i < len(places) and places[i]:
            found += [(float(start[i] + end[j]), context[places[i][0] : places[j][1]])
                      for j in ends if i <= j < i + LONGEST_ANSWER]  # fmt: skip
    return found


if __name__ == "__main__":
    main()
