"""Claim: every task, in English and in Chinese, beats its baseline on a real set.

    python benchmarks/bench_tasks.py                       every row, three seeds: many hours on two cores
    python benchmarks/bench_tasks.py similarity answer-zh  some rows; those that are in the result already stay there
    python benchmarks/bench_tasks.py --check               every set through `lathe check`; trains nothing

Each run is a plain ``lathe finetune`` command, kept below runs/bench-tasks and reused; what is told of it is its own
report of the test rows, beside the baseline that every report has: TF-IDF with logistic or ridge regression, BM25, the
most frequent tag, the nearest answer, the source copied, the nearest items. English models go on from a sentence
encoder of 22M parameters; Chinese ones from an encoder pretrained here for an hour on the texts of the Chinese sets'
training rows; what writes text starts from nothing.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench_language_models import corpus
from common import ROOT, data_set, lathe, paced, pretrained_encoder, rows_of, write_result

from lathe.core.recipe import read_toml

KEPT = ROOT / "runs" / "bench-tasks"
SPLITS = ("train", "validation", "test")
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % of Student's t, by the number of seeds
CHINESE_ENCODER_S = 3600.0
OF_LONG_TEXTS = ("task.metric=rouge_l", "task.max_length=384", "model.max_position_embeddings=384",
                 "train.batch_size=32", "train.eval_steps=100")  # fmt: skip
RECIPES = ROOT / "recipes"
SPEAKER = ("model.kind=llama", "model.hidden_size=256", "model.num_hidden_layers=4", "model.num_attention_heads=4")


class Entry(NamedTuple):
    """One row of the table."""

    data: str
    kind: str
    language: str
    options: tuple[str, ...] = ()
    made: Callable[[str, str], Iterator[dict[str, Any]]] | None = None
    """Rows of a set and split, where the task does not read those of its files as they are."""
    starts: str = "encoder"
    """What it goes on from: the ``encoder`` of its language, a tokenizer of its own ``words``, or ``nothing``."""
    recipe: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ENTRIES, []])
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(STUDENT))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    result = ROOT / "benchmarks" / "results" / "tasks.json"
    known = json.loads(result.read_text(encoding="utf-8"))["rows"] if result.is_file() else {}
    for name in options.rows or ENTRIES:
        if options.check:
            checked(name)
            continue
        known[name] = measured(name, options.seeds)
        write_result("tasks", {"claim": __doc__.splitlines()[0], "rows": {n: known[n] for n in ENTRIES if n in known}})


def measured(name: str, seeds: int) -> dict[str, Any]:
    entry = ENTRIES[name]
    runs = [
        lathe("finetune", *arguments(name), f"train.seed={seed}", "-o", KEPT / f"{name}-{seed}")
        for seed in range(seeds)
    ]
    metric = next(iter(runs[0]["scores"]["test"]))
    scores = [run["scores"]["test"][metric] for run in runs]
    simple = runs[0]["scores"]["test_baseline"][metric]
    half = STUDENT[seeds] * statistics.stdev(scores) / seeds**0.5
    mean = statistics.mean(scores)
    return {
        "set": entry.data,
        "language": entry.language,
        "kind": entry.kind,
        "options": list(entry.options),
        "test_rows": sum(1 for _ in rows(name, "test")),
        "metric": metric,
        "test": scores,
        "mean": mean,
        "interval_95": [mean - half, mean + half],
        "baseline": simple,
        "beats_its_baseline": mean - half > simple,
        "other_metrics": [run["scores"]["test"] for run in runs],
    }


def checked(name: str) -> None:
    """The training rows as ``lathe check`` sees them."""
    entry, files = ENTRIES[name], dict(given.split("=", 1) for given in files_of(name))
    base = [f"base={pretrained_encoder()}"] if entry.starts == "encoder" else []
    task = [option for option in entry.options if option.startswith("task.")]
    lathe("check", files["data.train"], f"task.kind={entry.kind}", *task, *base)


def arguments(name: str) -> list[str]:
    entry = ENTRIES[name]
    recipe = [str(RECIPES / entry.recipe)] if entry.recipe else []
    given = [*recipe, f"task.kind={entry.kind}", *entry.options, *files_of(name)]
    if entry.starts == "encoder":
        given.append(f"base={pretrained_encoder() if entry.language == 'en' else chinese_encoder()}")
    if entry.starts == "words":
        given.append(f"tokenizer={words(name)}")
    return given


def files_of(name: str) -> list[str]:
    """Options that name the files; those that are not there as their task reads them are written."""
    entry = ENTRIES[name]
    if entry.made is None:
        there = {split: data_set(entry.data) / f"{split}.jsonl.gz" for split in SPLITS}
        return [f"data.{split}={file}" for split, file in there.items() if file.is_file()]
    folder = KEPT / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    given = []
    for split in (*SPLITS, "collection"):
        file = folder / f"{split}.jsonl"
        if not file.is_file():
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in entry.made(entry.data, split)]
            if not lines:
                continue
            file.write_text("".join(lines), encoding="utf-8")
        given.append(f"data.{split}={file}")
    return given


def rows(name: str, split: str) -> Iterator[dict[str, Any]]:
    entry = ENTRIES[name]
    yield from (entry.made or rows_of)(entry.data, split)


# ---- what models go on from


def chinese_encoder() -> Path:
    """The recipe of an hour on two cores, on the Chinese sets' own texts."""
    folder = KEPT / "chinese"
    folder.mkdir(parents=True, exist_ok=True)
    text = {split: corpus("chinese", split, folder, 1.0) for split in ("train", "validation")}
    lathe("tokenizer", f"data.train={text['train']}", "vocab_size=8192", "-o", folder / "tokenizer")
    recipe = read_toml(ROOT / "recipes" / "pretrain" / "two-cores-one-hour.toml")
    data = {split: str(file) for split, file in text.items()}
    values = {key: value for key, value in recipe.items() if key != "verb"}
    values |= {"data": data, "tokenizer": str(folder / "tokenizer")}
    paced("encoder", values, folder, CHINESE_ENCODER_S)
    return folder / "encoder"


def words(name: str) -> Path:
    """A tokenizer of the texts of a set's training rows."""
    texts, out = KEPT / "data" / f"{name}.txt", KEPT / "data" / f"{name}-words"
    texts.parent.mkdir(parents=True, exist_ok=True)
    lines = (text for row in rows(name, "train") for text in written(row))
    texts.write_text("".join(f"{' '.join(line.split())}\n" for line in lines), encoding="utf-8")
    lathe("tokenizer", f"data.train={texts}", "algorithm.kind=byte_bpe", "vocab_size=8192", "-o", out)
    return out


def written(row: dict[str, Any]) -> list[str]:
    if "messages" in row:
        return [message["content"] for message in row["messages"]]
    return [row[column] for column in ("source", "target", "document", "summary") if column in row]


# ---- rows that are not in their files as their task reads them


def services(name: str, split: str) -> Iterator[dict[str, Any]]:
    """What a dialogue is about, of several kinds of services: ``Restaurants_2`` is one of ``Restaurants``."""
    if split not in SPLITS:
        return
    for row in rows_of(name, split):
        text = "\n".join(message["content"] for message in row["messages"])
        yield {"text": text, "labels": sorted({service.partition("_")[0] for service in row["services"]})}


def passages(name: str, split: str) -> Iterator[dict[str, Any]]:
    """Questions and the passages they were asked about, searched among all passages of the set."""
    if split == "collection":
        everything = (row["context"] for part in SPLITS for row in rows_of(name, part))
        yield from ({"text": text} for text in dict.fromkeys(everything))
        return
    most = {"train": 8000, "validation": 200, "test": 1000}[split]
    every = list(rows_of(name, split))
    for row in every[:: max(1, len(every) // most)][:most]:
        yield {"query": row["question"], "positives": [row["context"]]}


ENTRIES = {
    "sentiment": Entry("sst2_sentences", "classify", "en"),
    "topics": Entry("ag_news", "classify", "en", ("train.epochs=2",)),
    "sentiment-zh": Entry("chnsenticorp", "classify", "zh", ("task.max_length=128",)),
    "topics-zh": Entry("thucnews_titles", "classify", "zh"),
    "services": Entry("schema_guided_dialogue", "multilabel", "en", ("task.max_length=256",), services),
    "paraphrase": Entry("mrpc", "classify", "en"),
    "entailment": Entry("snli_sample", "classify", "en"),
    "same-question-zh": Entry("lcqmc_sample", "classify", "zh"),
    "entailment-zh": Entry("ocnli", "classify", "zh"),
    "similarity": Entry("stsb", "score", "en"),
    "similarity-zh": Entry("stsb_zh", "score", "zh"),
    "entities": Entry("conll2003", "tag", "en"),
    "chunks": Entry("conll2000_chunking", "tag", "en"),
    "entities-zh": Entry("resume_ner", "tag", "zh"),
    "entities-fine-zh": Entry("cluener", "tag", "zh"),
    "slots": Entry("atis", "intent", "en"),
    "slots-zh": Entry("smp2019_nlu", "intent", "zh"),
    "relations": Entry("semeval2010_task8", "relate", "en"),
    "answer": Entry("squad", "answer", "en", ("task.max_length=256", "train.max_eval_samples=1000")),
    "answer-zh": Entry("cmrc2018", "answer", "zh", ("task.max_length=256",)),
    "choose": Entry("copa", "choose", "en"),
    "choose-zh": Entry("c3", "choose", "zh", ("task.max_length=256", "train.epochs=2")),
    "search": Entry("squad", "embed", "en", ("task.max_length=192", "train.epochs=1"), passages),
    "search-zh": Entry("cmrc2018", "embed", "zh", ("task.max_length=192", "train.epochs=4"), passages),
    "rank": Entry("squad", "rank", "en", ("task.max_length=192", "train.epochs=1"), passages),
    "recommend": Entry("movielens_100k", "recommend", "en", starts="nothing", recipe="recommend.toml"),
    "translate": Entry("multi30k_en_de", "transform", "en", starts="words", recipe="translate.toml"),
    "translate-zh": Entry("tatoeba_en_zh", "transform", "zh", starts="words", recipe="translate.toml"),
    "summarize": Entry("scitldr", "transform", "en", OF_LONG_TEXTS, starts="words", recipe="translate.toml"),
    "title-zh": Entry("csl_title", "transform", "zh", OF_LONG_TEXTS, starts="words", recipe="translate.toml"),
    "chat": Entry("dailydialog_en", "chat", "en", (*SPEAKER, "train.epochs=10"), starts="words"),
    "chat-zh": Entry("lccc_sample", "chat", "zh", (*SPEAKER, "train.epochs=5"), starts="words"),
}  # fmt: skip

if __name__ == "__main__":
    main()
