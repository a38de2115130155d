"""Every task in every dialect that has it: the answer over HTTP is that of the loaded model."""

import base64
import math

import numpy as np
import pytest

from lathe.generation import Generation, load_generator
from lathe.loader import load
from lathe.serve.app import build_app
from lathe.serve.dialects import huggingface

from .conftest import EXAMPLES
from .direct import direct
from .questions import content_of
from .test_native import same

TEXT, OTHERS = "in Paris 影片很好", ["bad plot", "很好"]
QUESTION = {"context": "a great film in Paris", "question": "in"}
MESSAGES = [{"role": "user", "content": TEXT}]
MASKED = "a [MASK] film"
PIPELINE = "/models/{}/pipeline/{}"


@pytest.fixture(scope="module")
def client(opened):
    with direct(build_app(opened(*EXAMPLES), writes_log=False)) as client:
        yield client


@pytest.fixture(scope="module")
def model(every):
    known = {}
    return lambda name: known.setdefault(name, load(every(name)))


def asked(client, path, body):
    content, media_type = content_of(path, body)
    reply = client.request("POST", path, content, {"content-type": media_type})
    assert reply.status_code == 200, reply.text
    assert "x-model" in reply.headers or reply.json()["model"]
    return reply.json()


# ------------------------------------------------------------------------------------- what the loaded model answers
def labels(model, row):
    """With their scores, the highest first."""
    (found,) = model([row])
    found = getattr(found, "label", found) if hasattr(found, "spans") else found  # the intent of a frame
    scores = getattr(found, "scores", None) or {"score": found.value}
    return [{"label": label, "score": score} for label, score in sorted(scores.items(), key=lambda one: -one[1])]


def entities(model):
    (found,) = model([TEXT])
    spans = found.spans if isinstance(found.spans, tuple) else found.spans.spans
    return [
        {"entity_group": one.label, "score": one.score, "word": TEXT[one.start : one.end], "start": one.start,
         "end": one.end}
        for one in spans
    ]  # fmt: skip


def alike(model):
    return [one.value for one in model([{"text": TEXT, "text_pair": other} for other in OTHERS])]


def ranked(model, squeezes):
    (found,) = model([{"query": TEXT, "candidates": OTHERS}])
    scores = [1 / (1 + math.exp(-score)) if squeezes else score for score in found.scores]
    return [{"index": OTHERS.index(text), "score": score} for text, score in zip(found.ids, scores, strict=True)]


def best_span(model):
    (found,) = model([QUESTION])
    return {"answer": found.text, "score": found.score, "start": found.start or 0, "end": found.end or 0}


def entailed(model):
    answers = model([{"text": TEXT, "text_pair": f"This example is {label}."} for label in OTHERS])
    yes = [one.scores["entailment"] for one in answers]
    found = [{"label": label, "score": score / sum(yes)} for label, score in zip(OTHERS, yes, strict=True)]
    return sorted(found, key=lambda one: -one["score"])


def written(model):
    (found,) = model([TEXT])
    assert found.text
    return [{"summary_text": found.text, "translation_text": found.text, "generated_text": found.text}]


def filled(model):
    (mask,) = model([MASKED])[0].fillings
    return [
        {"score": one.score, "token": one.token, "token_str": one.text, "sequence": MASKED.replace("[MASK]", one.text)}
        for one in mask
    ]


def vectors(model):
    return [[*one.values] for one in model(OTHERS)]


PAIR = {"text": TEXT, "text_pair": OTHERS[0]}
SIMILAR = {"inputs": {"source_sentence": TEXT, "sentences": OTHERS}}
HUGGING_FACE = [
    *[("text-classification", name, {"inputs": TEXT}, lambda m: [labels(m, TEXT)])
      for name in ("classify", "multilabel", "intent")],
    ("text-classification", "score", {"inputs": PAIR}, lambda m: [labels(m, PAIR)]),
    *[("token-classification", name, {"inputs": TEXT}, entities) for name in ("tag", "intent")],
    ("question-answering", "answer", {"inputs": QUESTION}, best_span),
    ("feature-extraction", "embed", {"inputs": OTHERS}, vectors),
    *[("sentence-similarity", name, SIMILAR, alike) for name in ("embed", "score")],
    ("zero-shot-classification", "pairs", {"inputs": TEXT, "parameters": {"candidate_labels": OTHERS}}, entailed),
    *[(task, "transform", {"inputs": TEXT}, written) for task in ("summarization", "translation")],
    ("fill-mask", "fill", {"inputs": MASKED}, filled),
]  # fmt: skip
TEI = [
    ("/embed", "embed", {"inputs": OTHERS}, vectors),
    *[("/predict", name, {"inputs": TEXT}, lambda m: labels(m, TEXT)) for name in ("classify", "multilabel", "intent")],
    *[("/predict", name, {"inputs": [TEXT, OTHERS[0]]}, lambda m: labels(m, PAIR)) for name in ("pairs", "score")],
    *[("/similarity", name, SIMILAR, alike) for name in ("embed", "score")],
    ("/rerank", "rank", {"query": TEXT, "texts": OTHERS}, lambda m: ranked(m, True)),
    ("/rerank", "embed", {"query": TEXT, "texts": OTHERS}, lambda m: ranked(m, False)),
]


# --------------------------------------------------------------------------------------------------------- the walk
@pytest.mark.parametrize("name", EXAMPLES)
def test_our_own_dialect(client, model, name):
    rows, kind = EXAMPLES[name].rows, getattr(EXAMPLES[name].task, "kind", name)
    wanted = [model(name)([row])[0].to_json() for row in rows]
    assert same(asked(client, f"/v1/{kind}", {"model": name, "rows": rows})["predictions"], wanted)
    assert same(asked(client, f"/predict?model={name}", {"rows": rows})["predictions"], wanted)


@pytest.mark.parametrize(("task", "name", "body", "wanted"), HUGGING_FACE, ids=lambda value: str(value)[:24])
def test_the_dialect_of_hugging_face(client, model, task, name, body, wanted):
    found = asked(client, PIPELINE.format(name, task), body)
    assert same(found, wanted(model(name)))


def test_the_walk_has_every_task_of_the_dialect_of_hugging_face():
    """And each by every kind of model that can do it."""
    kinds = {name: getattr(example.task, "kind", name) for name, example in EXAMPLES.items()}
    walked = {(task, kinds[name]) for task, name, *_ in HUGGING_FACE} | {("text-generation", "generate")}
    there = {(task, kind) for task, way in huggingface._NAMED.items() for kind in huggingface._CAN[way]}
    assert walked == there


@pytest.mark.parametrize(("path", "name", "body", "wanted"), TEI, ids=lambda value: str(value)[:24])
def test_the_dialect_of_text_embeddings_inference(client, model, path, name, body, wanted):
    found = asked(client, f"{path}?model={name}", body)
    assert same(found, wanted(model(name)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_tokens_are_those_that_every_model_reads(client, model, name):
    (found,) = asked(client, f"/tokenize?model={name}", {"inputs": TEXT})
    tokenizer = model(name).tokenizer or model(name).model.tokenizer
    assert [one["id"] for one in found] == tokenizer(TEXT)["input_ids"]


def test_the_dialect_of_openai_and_texts_that_go_on(client, model, every):
    told = asked(client, "/v1/embeddings", {"model": "embed", "input": OTHERS})["data"]
    coded = asked(client, "/v1/embeddings", {"model": "embed", "input": OTHERS, "encoding_format": "base64"})["data"]
    assert same([one["embedding"] for one in told], vectors(model("embed")))
    read = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in coded]
    assert np.array(read) == pytest.approx(np.array(vectors(model("embed"))), abs=1e-5)
    (answer,) = model("chat")([{"messages": MESSAGES}])
    assert answer.text
    for path in ("/v1/chat/completions", "/models/chat/v1/chat/completions"):
        (choice,) = asked(client, path, {"model": "chat", "messages": MESSAGES})["choices"]
        assert choice["message"] == {"role": "assistant", "content": answer.text}
    (text,) = load_generator(every("likelihood"))([TEXT], Generation(max_new_tokens=5))
    (choice,) = asked(client, "/v1/completions", {"model": "likelihood", "prompt": TEXT, "max_tokens": 5})["choices"]
    body = {"inputs": TEXT, "parameters": {"max_new_tokens": 5}}
    assert [choice["text"]] == [text.text]
    assert asked(client, PIPELINE.format("likelihood", "text-generation"), body) == [{"generated_text": text.text}]
    assert asked(client, "/v1/generate", {"rows": [TEXT], "max_new_tokens": 5})["predictions"] == [text._asdict()]
