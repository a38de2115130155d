"""Claim: on English and on Chinese text the best network, after ten minutes, beats a 5-gram Kneser-Ney model.

    python benchmarks/bench_language_models.py [english] [chinese]        about three hours each on two cores
    python benchmarks/bench_language_models.py --share 0.005 --text-ratio 0.02 english      a rehearsal

English: the paragraphs of Wikipedia in `wikipedia_paragraphs_lm`. Chinese: the texts of the training rows of the sets
named in CHINESE below, each text once, 2 % of them held out for validation and 2 % for the test by a hash of the text.

Three tables, which are not to be compared with one another: bits per byte of models that give a text's probability (ten
minutes of training steps each; the mixture is the last network with the n-gram model); losses of a masked and of a
permutation model on tokens seen from both sides, or in a random order (five minutes); and accuracy of a classifier
fine-tuned on 1,000 rows from models of the other objectives, three minutes each, beside TF-IDF and logistic regression.
Every run is a plain command, kept below runs/bench-language-models and reused.
"""

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import DATA, ROOT, data_set, lathe, paced, rows_of, some_rows, write_result

CHINESE = ("c3", "chnsenticorp", "cmrc2018", "csl_title", "dailydialog_zh", "kdconv", "lccc_sample", "lcqmc_sample",
           "ocnli", "online_shopping_10_cats", "thucnews_titles", "tnews_fewclue", "toutiao")  # fmt: skip
COLUMNS = ("text", "context", "document", "text_a", "text_b")
MINUTES = {"causal": 10, "sides": 5, "others": 3}
WIDE = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
LAYERS = {"d_model": 256, "encoder_layers": 3, "num_attention_heads": 4}
CAUSAL: dict[str, dict[str, Any]] = {
    "neural-ngram": {"kind": "neural-ngram"},
    "lstm": {"kind": "lstm"},
    "transformer": {"kind": "llama", **WIDE},
}
SIDES: dict[str, dict[str, Any]] = {
    "masked": {"kind": "modernbert", **WIDE},
    "permutation": {"kind": "xlnet", "d_model": 256, "n_layer": 4, "n_head": 4},
}
OTHERS: dict[str, dict[str, Any]] = {
    "masked_nsp": {"kind": "bert", **WIDE},
    "masked_sop": {"kind": "albert", **WIDE},
    "replaced": {"kind": "electra", **WIDE},
    "simcse": {"kind": "bert", **WIDE},
    "prefix": {"kind": "llama", **WIDE},
    "span_corruption": {"kind": "t5", "d_model": 256, "num_layers": 3, "num_heads": 4},
    "denoising": {"kind": "bart", **LAYERS},
}
DOWNSTREAM = {"english": "sst2_sentences", "chinese": "chnsenticorp"}
PIECES = {"english": 4096, "chinese": 8192}
LABELS = 1000


def main() -> None:
    options = arguments()
    found = {language: measured(language, options) for language in options.languages or DOWNSTREAM}
    whole = (options.share, options.text_ratio) == (1.0, 1.0)
    name = "language_models" if whole else "language_models_rehearsal"
    values = {"claim": __doc__.splitlines()[0], "minutes": MINUTES, "share": options.share}
    write_result(name, values | {"chinese_sets": CHINESE, "languages": found})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="*", choices=[*DOWNSTREAM, []])
    parser.add_argument("--share", type=float, default=1.0, help="of the minutes")
    parser.add_argument("--text-ratio", type=float, default=1.0, help="share of the text")
    return parser.parse_args()


def measured(language: str, options: argparse.Namespace) -> dict[str, Any]:
    folder = ROOT / "runs" / "bench-language-models" / f"{language}-{options.share:g}-{options.text_ratio:g}"
    folder.mkdir(parents=True, exist_ok=True)
    text = {split: corpus(language, split, folder, options.text_ratio) for split in ("train", "validation", "test")}
    size = {"vocab_size": 8192} if language == "chinese" else {"vocab_size": 4096}
    lathe(
        "tokenizer", f"data.train={text['train']}", *(f"{k}={v}" for k, v in size.items()), "-o", folder / "tokenizer"
    )

    def trained(objective: str, name: str, model: dict[str, Any], kind: str) -> dict[str, Any]:
        values = {
            "data": {"train": str(text["train"]), "validation": str(text["validation"])},
            "tokenizer": str(folder / "tokenizer"),
            "model": model,
            "objective": {"kind": objective},
            "max_length": 128,
            "train": {"tokens_per_step": 2048, "learning_rate": 2e-3, "lr_scheduler": "wsd"},
        }
        return paced(name, values, folder, 60 * MINUTES[kind] * options.share)

    causal = {name: trained("causal", name, model, "causal") for name, model in CAUSAL.items()}
    return {
        "bytes": {split: file.stat().st_size for split, file in text.items()},
        "bits_per_byte": bits(text, folder, list(CAUSAL)),
        "causal_runs": causal,
        "sides": {name: trained(name, name, model, "sides") for name, model in SIDES.items()},
        "downstream": downstream(
            language, folder, {name: trained(name, name, model, "others") for name, model in OTHERS.items()}
        ),
    }


def bits(text: dict[str, Path], folder: Path, networks: list[str]) -> dict[str, Any]:
    """Of the n-gram model, the networks and the mixture, on the test text."""
    units = f'units={{kind="pieces", tokenizer="{folder / "tokenizer"}"}}'
    lathe("ngram", f"data.train={text['train']}", units, "order=5", "-o", folder / "kneser-ney")
    given = [f"network={folder / networks[-1]}", f"ngram={folder / 'kneser-ney'}"]
    lathe("mix", *given, f"data.validation={text['validation']}", "-o", folder / "mixture")
    models = json.dumps([str(folder / name) for name in ("kneser-ney", *networks, "mixture")])
    table = lathe("perplexity", f"data.test={text['test']}", f"bundles={models}", "-o", folder / "table")
    return {name.partition("@")[0]: one["bits_per_byte"] for name, one in table["scores"]["models"].items()}


def downstream(language: str, folder: Path, runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Accuracy at 1,000 labels from each model, with what it took."""
    name = DOWNSTREAM[language]
    train, test = (some_rows(name, split, LABELS, 0, folder) for split in ("train", "test"))
    validation = data_set(name) / "validation.jsonl.gz"
    data = [f"data.train={train}", f"data.validation={validation}", f"data.test={test}", "task.kind=classify"]
    found: dict[str, Any] = {}
    for objective, run in runs.items():
        arguments = [
            f"base={folder / objective}",
            "task.max_length=128",
            *data,
            "-o",
            folder / f"classifier-{objective}",
        ]
        scores = lathe("finetune", *arguments)["scores"]
        found[objective] = {"accuracy": scores["test"]["accuracy"], **run}
        found["tfidf_logistic_regression"] = {"accuracy": scores["test_baseline"]["accuracy"]}
    return found


# ---- the text


def corpus(language: str, split: str, folder: Path, ratio: float) -> Path:
    """Texts of one split as JSON lines."""
    file = folder / f"{split}.jsonl"
    if not file.is_file():
        texts = english(split) if language == "english" else chinese(split)
        lines = (json.dumps({"text": text}, ensure_ascii=False) for text in texts if part_of(text, "use") < ratio)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def english(split: str) -> Iterator[str]:
    with gzip.open(data_set("wikipedia_paragraphs_lm") / f"{split}.txt.gz", "rt", encoding="utf-8") as stream:
        yield from (line.strip() for line in stream if line.strip())


def chinese(split: str) -> Iterator[str]:
    seen = set()
    for name in CHINESE:
        for row in rows_of(name, "train"):
            for text in filter(None, texts_of(row)):
                if text not in seen and split_of(text) == split:
                    yield text
                seen.add(text)


def texts_of(row: dict[str, Any]) -> Iterator[str]:
    yield from (row[column].strip() for column in COLUMNS if isinstance(row.get(column), str))
    yield from (message["content"].strip() for message in row.get("messages", ()))


def split_of(text: str) -> str:
    place = part_of(text, "split")
    return "validation" if place < 0.02 else "test" if place < 0.04 else "train"


def part_of(text: str, purpose: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{text}".encode()).digest()[:8]) / 2**64


if __name__ == "__main__":
    if not DATA.is_dir():
        sys.exit(f"{DATA}: the data sets of the benchmarks are not here")
    main()
