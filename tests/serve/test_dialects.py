"""The dialects: each is asked by its own client where that is installed, and answers what the loaded model answers."""

import asyncio
import base64
import json
import math
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import uvicorn
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from lathe.generation import Generation
from lathe.loader import load
from lathe.serve.app import build_app
from lathe.serve.keys import Keys

MESSAGES = [{"role": "user", "content": "good film"}]


@contextmanager
def listening(app):
    """A real server for real clients, in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def hub(opened, every):
    """``with hub("tag") as (client, model)``: a client of the Hub, and the loaded model that it is compared with."""

    @contextmanager
    def begin(name, keys=None):
        with listening(build_app(opened(name), keys=keys, writes_log=False)) as address:
            yield InferenceClient(model=address, token="k" * 16), load(every(name))

    return begin


# ----------------------------------------------------------------------------------------------------- Hugging Face
@pytest.mark.parametrize("name", ["classify", "multilabel", "intent"])
def test_the_hubs_client_classifies(hub, name):
    with hub(name) as (client, model):
        found = client.text_classification("good film")
        one = client.text_classification("good film", top_k=1)
    (wanted,) = model(["good film"])
    scores = (wanted.label if name == "intent" else wanted).scores
    assert {label.label: label.score for label in found} == pytest.approx(scores, abs=1e-5)
    assert [label.score for label in found] == sorted((label.score for label in found), reverse=True)
    assert one == found[:1]


def test_the_hubs_client_finds_entities(hub):
    with hub("tag") as (client, model):
        found = client.token_classification("in Paris 北京", aggregation_strategy="simple")
        fewer = client.token_classification("in Paris 北京", ignore_labels=["LOC"])
    spans = model(["in Paris 北京"])[0].spans
    assert [(one.start, one.end, one.entity_group) for one in found] == [(s.start, s.end, s.label) for s in spans]
    assert [one.word for one in found] == ["in Paris 北京"[one.start : one.end] for one in found]
    assert [one.score for one in found] == pytest.approx([span.score for span in spans], abs=1e-5)
    assert len(fewer) == sum(span.label != "LOC" for span in spans)


def test_the_hubs_client_asks_a_text(hub):
    row = {"context": "a great film in Paris", "question": "in"}
    with hub("answer") as (client, model):
        found = client.question_answering(**row)
        best = client.question_answering(**row, top_k=2)
    (wanted,) = model([row])
    assert (found.answer, found.start, found.end) == (wanted.text, wanted.start, wanted.end)
    assert found.score == pytest.approx(wanted.score, abs=1e-5)
    assert len(best) == 2
    assert best[0].answer == wanted.text


def test_the_hubs_client_embeds_and_compares(hub):
    texts = ["good film", "影片很坏", "plot"]
    with hub("embed") as (client, model):
        found = client.feature_extraction(texts, normalize=True, truncate=True, truncation_direction="right")
        single = client.feature_extraction("good film")
        short = client.feature_extraction(texts, dimensions=4)
        alike = client.sentence_similarity(texts[0], texts[1:])
    wanted = np.array([one.values for one in model(texts)])
    assert found == pytest.approx(wanted, abs=1e-5)
    assert single == pytest.approx(wanted[:1], abs=1e-5)
    assert short == pytest.approx(wanted[:, :4] / np.linalg.norm(wanted[:, :4], axis=1, keepdims=True), abs=1e-5)
    assert alike == pytest.approx(
        [one.value for one in model([{"text": texts[0], "text_pair": t} for t in texts[1:]])], abs=1e-5
    )


def test_the_hubs_client_tells_labels_that_a_model_has_not_learnt(hub):
    with hub("pairs") as (client, model):
        found = client.zero_shot_classification("good film", ["film", "plot"], hypothesis_template="the {}")
        several = client.zero_shot_classification("good film", ["film", "plot"], multi_label=True)
    answers = model([{"text": "good film", "text_pair": f"the {name}"} for name in ("film", "plot")])
    yes = [one.scores["entailment"] for one in answers]
    assert {one.label: one.score for one in found} == pytest.approx(
        {"film": yes[0] / sum(yes), "plot": yes[1] / sum(yes)}, abs=1e-5
    )
    yes = model([{"text": "good film", "text_pair": f"This example is {name}."} for name in ("film", "plot")])
    assert {one.label: one.score for one in several} == pytest.approx(
        {name: one.scores["entailment"] for name, one in zip(("film", "plot"), yes, strict=True)}, abs=1e-5
    )


def test_the_hubs_client_summarizes_and_translates(hub):
    with hub("transform") as (client, model):
        summary = client.summarization("good film", generate_parameters={"max_new_tokens": 2})
        translation = client.translation("good film")
        with pytest.raises(HfHubHTTPError, match="src_lang"):
            client.translation("good film", src_lang="en", tgt_lang="fr")
    (wanted,) = model(["good film"])
    assert translation.translation_text == wanted.text
    assert wanted.text.startswith(summary.summary_text)


def test_the_hubs_client_fills_masks(hub):
    with hub("fill") as (client, model):
        found = client.fill_mask("a [MASK] film", top_k=3)
        chosen = client.fill_mask("a [MASK] film", targets=["good", "bad"])
    (wanted,) = model(["a [MASK] film"])[0].fillings
    assert [one.token_str for one in found] == [one.text for one in wanted[:3]]
    assert [one.score for one in found] == pytest.approx([one.score for one in wanted[:3]], abs=1e-5)
    assert [one.sequence for one in found] == [f"a {one.text} film" for one in wanted[:3]]
    assert [model.tokenizer.decode([one.token]) for one in found] == [one.text for one in wanted[:3]]
    assert {one.token_str for one in chosen} == {"good", "bad"}


def test_the_hubs_client_generates_whole_and_piece_by_piece(hub, opened):
    write = opened("likelihood")["likelihood"].generator
    with hub("likelihood") as (client, _):
        whole = client.text_generation("good film", max_new_tokens=5)
        pieces = [*client.text_generation("good film", max_new_tokens=5, stream=True)]
        full = client.text_generation("good film", max_new_tokens=5, return_full_text=True)
        told = client.text_generation("good film", max_new_tokens=5, details=True)
        last = [*client.text_generation("good film", max_new_tokens=5, details=True, stream=True)][-1]
        drawn = {client.text_generation("good", max_new_tokens=5, do_sample=True, seed=7) for _ in range(3)}
    (wanted,) = write(["good film"], Generation(max_new_tokens=5))
    assert whole == "".join(pieces) == told.generated_text == last.generated_text == wanted.text
    assert full == "good film" + wanted.text
    assert told.details.generated_tokens == wanted.tokens
    assert told.details.finish_reason == {"end": "eos_token", "length": "length"}[wanted.end]
    assert len(drawn) == 1


def test_the_hubs_client_talks(hub):
    with hub("chat") as (client, model):
        answer = client.chat_completion(MESSAGES)
        pieces = [*client.chat_completion(MESSAGES, stream=True)]
        named = InferenceClient(model=f"{client.model}/models/chat").chat_completion(MESSAGES, max_tokens=2)
    (wanted,) = model([{"messages": MESSAGES}])
    assert answer.choices[0].message.content == wanted.text
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == wanted.text
    assert pieces[-1].choices[0].finish_reason == answer.choices[0].finish_reason
    assert wanted.text.startswith(named.choices[0].message.content)
    assert answer.usage.completion_tokens <= 4


def test_the_hubs_asynchronous_client_is_answered_too(hub):
    async def classify(address):
        async with AsyncInferenceClient(model=address) as client:
            return await client.text_classification("good film")

    with hub("classify") as (client, model):
        found = asyncio.run(classify(client.model))
    assert {one.label: one.score for one in found} == pytest.approx(model(["good film"])[0].scores, abs=1e-5)


def test_the_hubs_client_learns_what_is_served_and_why_it_is_refused(hub):
    with hub("classify", keys=Keys({"ann": "k" * 16})) as (client, _):
        inference = InferenceClient(model=client.model, provider="hf-inference", token="k" * 16)
        assert inference.get_endpoint_info()["model_id"] == "classify"
        assert inference.health_check()
        with pytest.raises(HfHubHTTPError, match="/v1/classify"):
            client.token_classification("good", model=f"{client.model}/models/classify/pipeline/token-classification")
        with pytest.raises(HfHubHTTPError, match="401"):
            InferenceClient(model=client.model, token="wrong").text_classification("good")


def test_models_are_told_apart_by_their_path(serving):
    with serving("classify", "tag") as client:
        named = client.post("/models/tag", json={"inputs": "in Paris", "parameters": {}})
        unnamed = client.post("/", json={"inputs": "in Paris"})
        unknown = client.post("/models/other", json={"inputs": "in Paris"})
    assert "entity_group" in named.json()[0]
    assert (unnamed.status_code, unknown.status_code) == (422, 404)
    assert unknown.json()["error_type"] == "validation"


# --------------------------------------------------------------------------------------- text-embeddings-inference
def test_embed(serving, every):
    model = load(every("embed"))
    with serving("embed") as client:
        one = client.post("/embed", json={"inputs": "good film"})
        two = client.post("/embed", json={"inputs": ["good film", "很好"], "normalize": True, "truncate": False})
        long = client.post("/embed", json={"inputs": "good " * 40, "truncate": False})
        raw = client.post("/embed", json={"inputs": "good film", "normalize": False})
    wanted = [list(found.values) for found in model(["good film", "很好"])]
    assert np.array(one.json()) == pytest.approx(np.array(wanted[:1]), abs=1e-5)
    assert np.array(two.json()) == pytest.approx(np.array(wanted), abs=1e-5)
    assert long.status_code == raw.status_code == 422
    assert "10 tokens too long" in long.json()["error"]
    assert one.headers["x-model"].startswith("embed@")


def test_predict_takes_a_text_a_pair_and_lists_of_both(serving, every):
    model, pairs = load(every("classify")), load(every("pairs"))
    with serving("classify") as client:
        one = client.post("/predict", json={"inputs": "good film"}).json()
        many = client.post("/predict", json={"inputs": [["good film"], ["很好"]]}).json()
        pair = client.post("/predict", json={"inputs": ["good", "film"]})
        ours = client.post("/predict", json={"rows": ["good film"]}).json()
        both = client.post("/predict", json={"rows": ["good film"], "inputs": "good"})
    with serving("pairs") as client:
        found = client.post("/predict", json={"inputs": ["good", "film"]}).json()
    for told, text in [(one, "good film"), (many[0], "good film"), (many[1], "很好")]:
        assert {label["label"]: label["score"] for label in told} == pytest.approx(model([text])[0].scores, abs=1e-5)
    (wanted,) = pairs([{"text": "good", "text_pair": "film"}])
    assert {label["label"]: label["score"] for label in found} == pytest.approx(wanted.scores, abs=1e-5)
    assert pair.status_code == both.status_code == 422
    assert ours["predictions"][0]["label"] == one[0]["label"]


@pytest.mark.parametrize("name", ["rank", "embed"])
def test_rerank(serving, every, name):
    texts = ["bad plot", "good film", "很好", "good film"]
    (wanted,) = load(every(name))([{"query": "film", "candidates": [*dict.fromkeys(texts)]}])
    known = dict(zip(wanted.ids, wanted.scores, strict=True))
    with serving(name) as client:
        asked = {"query": "film", "texts": texts, "return_text": True}
        raw = client.post("/rerank", json=asked | {"raw_scores": True}).json()
        told = client.post("/rerank", json=asked).json()
    assert [one["score"] for one in raw] == pytest.approx(sorted(map(known.get, texts), reverse=True), abs=1e-5)
    assert all(one["text"] == texts[one["index"]] for one in raw)
    assert sorted(one["index"] for one in told) == [0, 1, 2, 3]
    squeezed = [1 / (1 + math.exp(-one["score"])) if name == "rank" else one["score"] for one in raw]
    assert [one["score"] for one in told] == pytest.approx(squeezed, abs=1e-5)


@pytest.mark.parametrize("name", ["embed", "score"])
def test_similarity(serving, every, name):
    others = ["bad plot", "很好"]
    wanted = load(every(name))([{"text": "good film", "text_pair": other} for other in others])
    with serving(name) as client:
        reply = client.post("/similarity", json={"inputs": {"source_sentence": "good film", "sentences": others}})
    assert reply.json() == pytest.approx([one.value for one in wanted], abs=1e-5)


def test_tokenize_tells_places_and_takes_the_names_of_special_tokens_for_text(serving, every):
    tokenizer = load(every("tag")).tokenizer
    with serving("tag") as client:
        found = client.post("/tokenize", json={"inputs": ["in Paris", "北京"]}).json()
        bare = client.post("/tokenize", json={"inputs": "in Paris", "add_special_tokens": False}).json()
        named = client.post("/tokenize", json={"inputs": "[SEP]", "add_special_tokens": False}).json()
    assert [[one["id"] for one in text] for text in found] == tokenizer(["in Paris", "北京"])["input_ids"]
    assert bare[0] == found[0][1:-1]
    assert [(one["text"], one["start"], one["stop"]) for one in bare[0]] == [("in", 0, 2), ("Paris", 3, 8)]
    assert tokenizer.sep_token_id not in [one["id"] for one in named[0]]


def test_info_and_health(serving):
    with serving("embed") as client:
        info = client.get("/info").json()
        assert (
            client.get("/").status_code == client.get("/ping").status_code == client.get("/health").status_code == 200
        )
    assert info["model_id"] == "embed"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 32


# ------------------------------------------------------------------------------------------------------------ OpenAI
def test_models_are_listed(serving):
    with serving("classify", "chat") as client:
        found = client.get("/v1/models").json()
        one = client.get("/v1/models/chat").json()
        unknown = client.get("/v1/models/other")
    assert [model["id"] for model in found["data"]] == ["classify", "chat"]
    assert found["data"][0]["labels"] == ["bad", "good"]
    assert found["data"][1] == one
    assert unknown.status_code == 404
    assert "classify, chat" in unknown.json()["error"]["message"]


def test_embeddings_as_numbers_and_as_bytes(serving, every):
    wanted = np.array([one.values for one in load(every("embed"))(["good film", "很好"])])
    with serving("embed") as client:
        asked = {"input": ["good film", "很好"], "model": "embed"}
        numbers = client.post("/v1/embeddings", json=asked).json()
        coded = client.post("/v1/embeddings", json=asked | {"encoding_format": "base64"}).json()
        tokens = client.post("/v1/embeddings", json={"input": [[1, 2]], "model": "embed"})
    assert np.array([one["embedding"] for one in numbers["data"]]) == pytest.approx(wanted, abs=1e-5)
    read = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in coded["data"]]
    assert np.array(read) == pytest.approx(wanted, abs=1e-5)
    assert numbers["usage"]["prompt_tokens"] == 8
    assert tokens.status_code == 422
    assert "check_embedding_ctx_length" in tokens.json()["error"]["message"]


def events(text):
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_completions_whole_and_as_they_come(serving, opened):
    write = opened("likelihood")["likelihood"].generator
    wanted = write(["good film", "很"], Generation(max_new_tokens=5))
    asked = {"model": "likelihood", "max_tokens": 5, "temperature": 0}
    with serving("likelihood") as client:
        whole = client.post("/v1/completions", json=asked | {"prompt": ["good film", "很"]}).json()
        stream = client.post(
            "/v1/completions",
            json=asked | {"prompt": "good film", "stream": True, "stream_options": {"include_usage": True}},
        )
        stopped = client.post("/v1/completions", json=asked | {"prompt": "good film", "stop": [" "]}).json()
    assert [one["text"] for one in whole["choices"]] == [one.text for one in wanted]
    assert whole["usage"]["completion_tokens"] == sum(one.tokens for one in wanted)
    *pieces, usage = events(stream.text)
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == wanted[0].text
    assert usage["usage"]["completion_tokens"] == wanted[0].tokens
    assert stopped["choices"][0]["finish_reason"] in ("stop", "length")


def test_chat_whole_and_as_it_comes(serving, every):
    (wanted,) = load(every("chat"))([{"messages": MESSAGES}])
    with serving("chat") as client:
        whole = client.post("/v1/chat/completions", json={"model": "chat", "messages": MESSAGES}).json()
        stream = client.post("/v1/chat/completions", json={"model": "chat", "messages": MESSAGES, "stream": True})
        parts = [{"role": "user", "content": [{"type": "text", "text": "good film"}]}]
        same = client.post("/v1/chat/completions", json={"model": "chat", "messages": parts}).json()
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": wanted.text}
    assert same["choices"][0]["message"] == whole["choices"][0]["message"]
    pieces = [piece["choices"][0]["delta"].get("content", "") for piece in events(stream.text)]
    assert "".join(pieces) == wanted.text


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"logprobs": True},
        {"tools": [{}]},
        {"frequency_penalty": 1},
        {"max_tokens": 10**6},
        {"temperature": -1},
    ],
    ids=str,
)
def test_what_this_server_does_not_do_is_refused_and_not_left_out(serving, more):
    with serving("chat") as client:
        reply = client.post("/v1/chat/completions", json={"model": "chat", "messages": MESSAGES, **more})
    assert reply.status_code == 422
    assert reply.json()["error"]["message"]
