"""The peers: nltk counts a sample of the words; KenLM scores texts one by one in a loop, as its Python users do.

python peer_kneser_ney.py build TRAIN.txt RESULT.json WORDS
python peer_kneser_ney.py score MODEL.arpa TEXTS.txt RESULT.json
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path


def build(train: str, result: str, words: str) -> None:
    from nltk.lm import KneserNeyInterpolated
    from nltk.lm.preprocessing import padded_everygram_pipeline

    sample, size = [], 0
    for line in Path(train).read_text("utf-8").splitlines():
        if size >= int(words):
            break
        sample.append(line.split())
        size += len(sample[-1])
    started_s = time.perf_counter()
    grams, vocabulary = padded_everygram_pipeline(5, sample)
    KneserNeyInterpolated(5).fit(grams, vocabulary)
    seconds = time.perf_counter() - started_s
    write(result, "nltk", words=size, seconds=seconds)


def score(model: str, texts: str, result: str) -> None:
    import kenlm

    opened = kenlm.Model(model)
    lines = Path(texts).read_text("utf-8").splitlines()
    started_s = time.perf_counter()
    scores = [opened.score(line) for line in lines]
    seconds = time.perf_counter() - started_s
    write(result, "kenlm", words=sum(len(line.split()) for line in lines), seconds=seconds, total=sum(scores))


def write(result: str, library: str, **values: float) -> None:
    Path(result).write_text(json.dumps({"versions": {library: version(library)}} | values), "utf-8")


if __name__ == "__main__":
    {"build": build, "score": score}[sys.argv[1]](*sys.argv[2:])
