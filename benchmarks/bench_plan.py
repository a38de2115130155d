"""`lathe plan` beside the run that it plans: memory and time of six recipes.

    python benchmarks/bench_plan.py                   all of them, one after the other
    python benchmarks/bench_plan.py plan NAME         one plan (about 40 s), kept in the work folder
    python benchmarks/bench_plan.py train NAME        one run (20 to 40 s of training), kept there too
    python benchmarks/bench_plan.py result            the result file from what is kept

Memory is the highest resident set of the training process less what it held just before the model was made (what was
taken ahead for the model counts as the model's); time is the sum of the seconds of the training steps.
"""

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import ROOT, data_set, lathe, pretrained_encoder, write_result

from lathe.core import runtime
from lathe.core.recipe import parse
from lathe.core.work import read_log
from lathe.models.pretrained import training_bytes

FOLDER = Path(tempfile.gettempdir()) / f"lathe-bench-plan{str(ROOT).replace('/', '-')}"


def recipes() -> dict[str, tuple[str, dict[str, Any]]]:
    """Six runs that differ in family, size, objective, length, batch, precision, update rule and language.

    They were written after the planner was: nothing in it was chosen by what they showed.
    """
    wiki, titles, questions, names = (
        data_set(name) for name in ("wikipedia_paragraphs_lm", "thucnews_titles", "trec6", "conll2003")
    )
    characters, words, pieces = (str(FOLDER / name) for name in ("characters", "words", "pieces"))
    encoder, text = str(pretrained_encoder()), {"train": f"{wiki}/train.txt.gz"}
    return {
        "distilbert-masked-fp32": (
            "pretrain",
            {
                "tokenizer": words,
                "data": text,
                "max_length": 96,
                "model": {"kind": "distilbert", "hidden_size": 256, "num_attention_heads": 4},
                "objective": {"kind": "masked"},
                "train": {"tokens_per_step": 2500, "max_steps": 70, "precision": "fp32"},
            },
        ),
        "llama-causal-bf16": (
            "pretrain",
            {
                "tokenizer": pieces,
                "data": text | {"validation": f"{wiki}/validation.txt.gz"},
                "max_length": 192,
                "model": {"kind": "llama", "hidden_size": 384, "num_hidden_layers": 4, "num_attention_heads": 6},
                "objective": {"kind": "causal"},
                "train": {"tokens_per_step": 3500, "max_steps": 50, "eval_steps": 25, "precision": "bf16"},
            },
        ),
        "t5-spans-accumulated-bf16": (
            "pretrain",
            {
                "tokenizer": words,
                "data": text,
                "max_length": 128,
                "model": {"kind": "t5", "d_model": 256, "num_layers": 3, "num_heads": 4},
                "objective": {"kind": "span_corruption"},
                "train": {"tokens_per_step": 6000, "tokens_per_batch": 3000, "max_steps": 40, "precision": "bf16"},
            },
        ),
        "modernbert-chinese-muon-bf16": (
            "pretrain",
            {
                "tokenizer": characters,
                "data": {"train": f"{titles}/train.jsonl.gz"},
                "max_length": 40,
                "model": {"kind": "modernbert", "hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 5},
                "objective": {"kind": "masked", "mlm_probability": 0.3},
                "train": {"tokens_per_step": 3000, "max_steps": 70, "precision": "bf16", "optimizer": "muon"},
            },
        ),
        "classify-fp32": (
            "finetune",
            {
                "base": encoder,
                "data": {"train": f"{questions}/train.jsonl.gz", "validation_ratio": 0.02},
                "task": {"kind": "classify"},
                "train": {"batch_size": 48, "max_steps": 80, "precision": "fp32"},
            },
        ),
        "tag-bf16": (
            "finetune",
            {
                "base": encoder,
                "data": {"train": f"{names}/train.jsonl.gz", "validation_ratio": 0.02},
                "task": {"kind": "tag"},
                "train": {"batch_size": 24, "max_steps": 120, "precision": "bf16"},
            },
        ),
    }


def prepare() -> None:
    """Tokenizers, made once."""
    FOLDER.mkdir(exist_ok=True)
    wiki, titles = data_set("wikipedia_paragraphs_lm") / "train.txt.gz", data_set("thucnews_titles") / "train.jsonl.gz"
    made = (("characters", "wordpiece", titles), ("words", "wordpiece", wiki), ("pieces", "byte_bpe", wiki))
    for name, algorithm, text in made:
        if not (FOLDER / name).is_dir():
            lathe("tokenizer", f"data.train={text}", f"algorithm={algorithm}", "vocab_size=8192", "-o", FOLDER / name)


def plan(name: str) -> None:
    """What `lathe plan` says in a process of its own."""
    verb, values = recipes()[name]
    file = FOLDER / f"{name}.toml"
    file.write_text(_toml({"verb": verb} | values), encoding="utf-8")
    _keep(name, "planned", lathe("plan", file))


def train(name: str) -> None:
    """The run itself; its process is this one where ``name`` is marked with ``!``."""
    if not name.endswith("!"):
        subprocess.run([sys.executable, __file__, "train", f"{name}!"], check=True)
        return
    name = name.removesuffix("!")
    verb, values = recipes()[name]
    stage = importlib.import_module(f"lathe.{verb}.stage")
    recipe = parse(stage.Recipe, values)
    before: list[int] = []
    for maker in ("new_model", "open_model"):
        if hasattr(stage, maker):
            setattr(stage, maker, _noting(getattr(stage, maker), before))
    with tempfile.TemporaryDirectory() as folder:
        bundle = importlib.import_module(f"lathe.{verb}").run(recipe, Path(folder) / "run")
        seconds = sum(line["seconds"] for line in read_log(bundle.path) if line["event"] == "step")
    ahead = training_bytes(recipe.base, recipe.train.batch_size) if verb == "finetune" else 0
    _keep(name, "measured", {"memory": runtime.memory_in_use()[1] - before[0] + ahead, "seconds": seconds})


def result() -> None:
    found = {}
    for name in recipes():
        planned, measured = (
            json.loads((FOLDER / f"{name}.{what}.json").read_text()) for what in ("planned", "measured")
        )
        memory, seconds = planned["memory"]["process"], planned["time"]["training_seconds"]
        found[name] = {
            "planned_memory": memory,
            "measured_memory": measured["memory"],
            "memory_ratio": round(memory / measured["memory"], 3),
            "tensors": planned["memory"]["tensors"],
            "planned_seconds": round(seconds, 2),
            "measured_seconds": round(measured["seconds"], 2),
            "time_ratio": round(seconds / measured["seconds"], 3),
            "steps": planned["steps"],
            "trial_steps": planned["time"]["trial_steps"],
            "plan_took_seconds": planned["seconds"],
        }
    write_result("plan", {"recipes": found})


def _noting(make: Any, before: list[int]) -> Any:
    def noting(*arguments: Any, **named: Any) -> Any:
        before.append(runtime.memory_in_use()[0])
        return make(*arguments, **named)

    return noting


def _keep(name: str, what: str, values: dict[str, Any]) -> None:
    (FOLDER / f"{name}.{what}.json").write_text(json.dumps(values), encoding="utf-8")
    print(name, what, json.dumps(values))


def _toml(values: dict[str, Any]) -> str:
    """Dotted names with JSON values, which are TOML here."""

    def flat(table: dict[str, Any], prefix: str = "") -> list[str]:
        lines = []
        for key, value in table.items():
            nested = isinstance(value, dict)
            lines += flat(value, f"{prefix}{key}.") if nested else [f"{prefix}{key} = {json.dumps(value)}"]
        return lines

    return "\n".join(flat(values)) + "\n"


if __name__ == "__main__":
    prepare()
    match sys.argv[1:]:
        case ["plan", name]:
            plan(name)
        case ["train", name]:
            train(name)
        case ["result"]:
            result()
        case _:
            for one in recipes():
                plan(one)
                train(one)
            result()
