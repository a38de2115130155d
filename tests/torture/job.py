"""A job of three stages, text to a clean corpus to a tokenizer to packed tokens, as forks of one warm process.

Reads a line of JSON for each run: the folder with the texts, the folder to work in, the number of processes. Writes
``pid N`` and ``exit N``. Its argument says in how small pieces the stages work: JSON, name of a constant -> value.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import lathe.core.shards
import lathe.corpus
import lathe.corpus.files
import lathe.corpus.runner
import lathe.tokenizer
from lathe.core.documents import read_texts
from lathe.core.recipe import parse
from lathe.core.tokens import TokenFile
from lathe.corpus.duplicates import minhash
from lathe.models.pretrained import open_tokenizer
from lathe.tokenizer import fit


def run(texts: str, folder: str, processes: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    os.chdir(folder)
    source = {"kind": "files", "paths": [texts]}
    steps = ["normalise", "drop_short", "gopher_repetition", "drop_exact_duplicates", "drop_near_duplicates"]
    corpus = parse(lathe.corpus.Recipe, {"source": source, "steps": steps, "processes": processes})
    lathe.corpus.run(corpus, Path("corpus"))
    options = {"data": {"train": "corpus"}, "algorithm": {"kind": "byte_bpe"}, "vocab_size": 1024, "sample_mb": 1}
    lathe.tokenizer.run(parse(lathe.tokenizer.Recipe, options), Path("tokenizer"))
    if not Path("tokens").is_dir():
        TokenFile.write(Path("tokens"), read_texts(Path("corpus")), open_tokenizer(Path("tokenizer")), 128)


if __name__ == "__main__":
    for constant, value in json.loads(sys.argv[1]).items():
        module, _, name = constant.rpartition(".")
        setattr(sys.modules[module], name, value)
    fit._assigned()  # these take as long as all the rest of a small run
    minhash.sketch_of(["warm"])
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            code = 70
            try:
                run(*json.loads(line))
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.stdout)
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(f"pid {pid}", flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"exit {os.waitstatus_to_exitcode(status)}", flush=True)
    os._exit(0)  # there is nothing to take down
