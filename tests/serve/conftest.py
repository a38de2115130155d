"""A server in this process around tiny models, and one model of every task."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from lathe.core.bundle import Manifest, seal
from lathe.core.recipe import dump
from lathe.generation import Generation
from lathe.models import TransformerPreset
from lathe.models.pretrained import new_model, save_model
from lathe.serve.app import build_app
from lathe.serve.served import Models, open_models
from lathe.tasks import (
    AnswerQuestion,
    Chat,
    Choose,
    Classify,
    Embed,
    FindEvents,
    Intent,
    MultiLabel,
    Rank,
    Recommend,
    Relate,
    Score,
    Tag,
    Transform,
)
from lathe.tasks.conversations import prepare

TEXTS = ["good film", {"text": "影片很坏 plot"}, "the plot is not bad"]
PAIR = {"text": "good film", "text_pair": "bad plot"}
ENDS = {"head": {"start": 0, "end": 4, "label": "ART"}, "tail": {"start": 8, "end": 13, "label": "LOC"}}


@dataclass(frozen=True)
class Example:
    """A member of the union of tasks, and rows that it answers."""

    task: Any
    rows: list[Any]


SHORT = Generation(max_new_tokens=4)
EXAMPLES = {
    "classify": Example(Classify(labels=("bad", "good"), max_length=32, pair=False), TEXTS),
    "pairs": Example(Classify(labels=("entailment", "neutral"), max_length=32, pair=True), [PAIR]),
    "multilabel": Example(MultiLabel(labels=("a", "b", "c"), max_length=32), TEXTS),
    "score": Example(Score(max_length=32, mean=2.0, scale=1.5, pair=True), [PAIR]),
    "choose": Example(Choose(max_length=32), [{"text": "good", "question": "is it", "choices": ["film", "plot", "a"]}]),
    "tag": Example(Tag(labels=("LOC", "PER"), max_length=32), [*TEXTS, {"tokens": ["in", "Paris"]}]),
    "intent": Example(Intent(labels=("find", "play", "slot:LOC"), max_length=32), [*TEXTS, {"tokens": ["北", "京"]}]),
    "relate": Example(Relate(labels=("in", "of"), max_length=32), [{"text": "film in Paris", **ENDS}]),
    "event": Example(FindEvents(labels=("Play", "role:Place"), max_length=32), TEXTS),
    "answer": Example(
        AnswerQuestion(max_length=16, stride=2),
        [{"context": "a great film in Paris " * 3, "question": "in"}, {"context": "北京很好", "question": "好"}],
    ),
    "transform": Example(Transform(max_length=24, generation=replace(SHORT, no_repeat_ngram_size=1)), TEXTS),
    "chat": Example(
        Chat(max_length=30, generation=SHORT),
        ["good film", {"messages": [{"role": "system", "content": "is"}, {"role": "user", "content": "很好"}]}],
    ),
    "embed": Example(
        Embed(max_length=32, scored=False), [*TEXTS, PAIR, {"query": "film", "candidates": ["good film", "bad"]}]
    ),
    "rank": Example(Rank(max_length=32), [{"query": "film", "candidates": ["good film", "bad plot", "很好"]}]),
    "recommend": Example(Recommend(max_length=8, repeats=False), [{"history": ["good", "film"]}]),
    "fill": Example(None, ["a [MASK] film", "很[MASK] [MASK]"]),
    "likelihood": Example(None, TEXTS),
}
"""One for each member, and what language models answer by themselves."""


def make(folder: Path, name: str, tokenizer: Any, bert: Any, gpt2: Any) -> Path:
    """The bundle of an example, with random weights."""
    task = EXAMPLES[name].task
    if name == "chat":
        prepare(tokenizer)
    if name in ("relate", "event"):
        tokenizer.add_tokens([*"@#*"])
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    bert.vocab_size = gpt2.vocab_size = len(tokenizer)
    config = gpt2 if name in ("chat", "recommend", "likelihood") else bert
    if name == "transform":
        shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = TransformerPreset(architecture="encoder-decoder", hidden_size=16, **shape).config(tokenizer)
    if outputs := getattr(task, "outputs", ()):
        config.id2label = dict(enumerate(outputs))
        config.label2id = {label: place for place, label in enumerate(outputs)}
    auto_model = {"fill": AutoModelForMaskedLM, "likelihood": AutoModelForCausalLM}.get(name)
    runtime = save_model(
        new_model(auto_model or task.auto_model, config, seed=4 if name == "chat" else 0), tokenizer, folder
    )
    about = {"stage": "finetune", "task": dump(task)} if task else {"stage": "pretrain"}
    seal(folder, Manifest(kind="model", runtime=runtime, **about))
    return folder


@pytest.fixture(scope="session")
def every(tiny_all: tuple[Callable[[], Any], ...]) -> Iterator[Callable[[str], Path]]:
    """The folder of an example, made once."""
    made: dict[str, Path] = {}
    tokenizer, bert, gpt2 = tiny_all
    with tempfile.TemporaryDirectory() as folder:

        def get(name: str) -> Path:
            if name not in made:
                made[name] = make(Path(folder) / name, name, tokenizer(), bert(), gpt2())
            return made[name]

        yield get


@pytest.fixture(scope="session")
def opened(every: Callable[[str], Path]) -> Callable[..., Models]:
    """The models of some examples under their names, opened once."""
    known: dict[str, Any] = {}

    def get(*names: str) -> Models:
        for name in names:
            if name not in known:
                known[name] = open_models({name: every(name)})[name]
        return Models([known[name] for name in names])

    return get


@contextmanager
def client_of(models: Models, *arguments: Any, **options: Any) -> Iterator[TestClient]:
    base = options.pop("base_url", "http://localhost")
    app = build_app(models, *arguments, **({"writes_log": False} | options))
    with TestClient(app, base, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def serving(opened: Callable[..., Models]) -> Callable[..., AbstractContextManager[TestClient]]:
    """``with serving("tag", "embed") as client``"""

    def begin(*names: str, **options: Any) -> AbstractContextManager[TestClient]:
        return client_of(opened(*names), **options)

    return begin


def until(true):
    """Wait for what other threads or processes do."""
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen")
