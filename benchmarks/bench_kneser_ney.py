"""Kneser–Ney 5-grams of words: built beside ``nltk.lm``, and scoring texts beside KenLM's Python module.

    python benchmarks/bench_kneser_ney.py [--peer PYTHON] [--words 3000000] [--sample 200000] [--rounds 3]

Text: paragraphs of Wikipedia, then reviews of films, each a text. Lathe builds all of it, from texts in memory to
smoothed probabilities; nltk, too slow for that, only counts a sample (its smoothing comes with each score). KenLM reads
the same model, from ARPA, and scores a million words, some of them held out, in a Python loop over texts; Lathe scores
them in one call, on all cores. Opening a model and its first index are timed apart. The peers run in an environment of
their own: --peer PYTHON, or one that is made in runs/.
"""

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import DATA, ROOT, data_set, write_result

from lathe.core.runtime import cores
from lathe.ngrams import NGramModel, Words, write_arpa

PEER = ("kenlm==0.3.0", "nltk==3.10.4")
ORDER, SCORED_WORDS = 5, 1_000_000


def main(peer: Path, words: int, sample: int, rounds: int) -> None:
    texts = read_texts(words)
    held = lines(data_set("wikipedia_paragraphs_lm") / "test.txt.gz")
    to_score = first_words([*held, *texts], SCORED_WORDS)
    NGramModel.learn(texts[:100], ORDER, Words()).score(texts[:10])  # compiles, where that is still to be done
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "train.txt").write_text("\n".join(texts), "utf-8")
        (folder / "score.txt").write_text("\n".join(to_score), "utf-8")
        built, theirs = [], []
        for _ in range(rounds):
            built.append(words_a_second(texts, lambda: NGramModel.learn(texts, ORDER, Words())))
            theirs.append(run(peer, "build", folder / "train.txt", folder / "nltk.json", str(sample)))
        scores = scoring(peer, folder, texts, to_score, rounds)
    nltk = [run["words"] / run["seconds"] for run in theirs]
    write_result(
        "kneser_ney",
        {
            "texts": ["wikipedia_paragraphs_lm", "imdb_unsup_lm"],
            "order": ORDER,
            "words": sum(map(count, texts)),
            "cores": cores(),
            "build_words_per_second": [round(speed) for speed in built],
            "nltk_words": theirs[0]["words"],
            "nltk_words_per_second": [round(speed) for speed in nltk],
            "build_ratio": round(statistics.median(built) / statistics.median(nltk), 1),
            "peers": theirs[0]["versions"] | scores.pop("versions"),
        }
        | scores,
    )


def scoring(peer: Path, folder: Path, texts: list[str], to_score: list[str], rounds: int) -> dict:
    """The same words by both, in turn; the sums of their log probabilities have to agree."""
    model = NGramModel.learn(texts, ORDER, Words())
    write_arpa(model, folder / "model.arpa")
    model.save(folder)
    started_s = time.perf_counter()
    model = NGramModel.open(folder)
    model.score(to_score[:1])
    opened_s = time.perf_counter() - started_s
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(words_a_second(to_score, lambda: model.score(to_score)))
        theirs.append(run(peer, "score", folder / "model.arpa", folder / "score.txt", folder / "kenlm.json"))
    kenlm = [run["words"] / run["seconds"] for run in theirs]
    found = model.score(to_score)
    return {
        "scored_words": theirs[0]["words"],
        "score_words_per_second": [round(speed) for speed in ours],
        "kenlm_words_per_second": [round(speed) for speed in kenlm],
        "score_ratio": round(statistics.median(ours) / statistics.median(kenlm), 2),
        "open_and_index_seconds": round(opened_s, 2),
        "log10_total": round(float(found.total.sum() / np.log(10)), 1),
        "kenlm_log10_total": round(theirs[0]["total"], 1),
        "versions": theirs[0]["versions"],
    }


def words_a_second(texts: list[str], work) -> float:
    started_s = time.perf_counter()
    work()
    seconds = time.perf_counter() - started_s
    return sum(map(count, texts)) / seconds


def read_texts(words: int) -> list[str]:
    files = [data_set("wikipedia_paragraphs_lm") / "train.txt.gz", *sorted((DATA / "imdb_unsup_lm").glob("*.txt.gz"))]
    return first_words([text for file in files for text in lines(file)], words)


def lines(file: Path) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        return [" ".join(line.split()) for line in stream if line.strip()]  # KenLM parts words at ASCII's space only


def first_words(texts: list[str], words: int) -> list[str]:
    ends = np.cumsum([count(text) for text in texts])
    return texts[: int(np.searchsorted(ends, words)) + 1]


def count(text: str) -> int:
    return len(text.split())


def run(python: Path, *arguments: object) -> dict:
    script = Path(__file__).with_name("peer_kneser_ney.py")
    subprocess.run([python, script, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)
    result = next(Path(str(one)) for one in reversed(arguments) if str(one).endswith(".json"))
    found: dict = json.loads(result.read_text("utf-8"))
    return found


def peer_python() -> Path:
    folder = ROOT / "runs" / "peer-ngrams"
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEER], check=True)
    return python


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", type=Path, help="a Python with kenlm and nltk")
    parser.add_argument("--words", type=int, default=3_000_000)
    parser.add_argument("--sample", type=int, default=200_000, help="words that nltk counts")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.peer or peer_python(), given.words, given.sample, given.rounds)
