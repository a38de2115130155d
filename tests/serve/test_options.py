"""What a request may ask of a model beside its rows: what would be no number, or too much work, is refused."""

import pytest

from lathe.serve.limits import Limits

SAMPLE, BEAM = {"kind": "sample"}, {"kind": "beam"}


@pytest.mark.parametrize(
    "options",
    [
        {"decoding": SAMPLE | {"temperature": 1e-300}},
        {"decoding": SAMPLE | {"temperature": 0}},
        {"decoding": SAMPLE | {"top_k": 0}},
        {"decoding": SAMPLE | {"seed": False}},
        {"decoding": SAMPLE | {"temperature": "1"}},
        {"decoding": BEAM | {"num_beams": 17}},
        {"decoding": BEAM | {"length_penalty": 1e300}},
        {"repetition_penalty": 1e-300},
        {"max_new_tokens": 10**30},
        {"max_new_tokens": True},
        {"max_new_tokens": 5.0},
        {"no_repeat_ngram_size": "1"},
        {"stop": ["a"] * 17},
    ],
    ids=str,
)
def test_what_would_be_no_number_or_too_much_is_refused(serving, options):
    with serving("likelihood") as client:
        reply = client.post("/v1/generate", json={"rows": ["good film"], "max_new_tokens": 3} | options)
    assert reply.status_code == 422, reply.text


@pytest.mark.parametrize(
    "options",
    [
        {"decoding": SAMPLE | {"temperature": 1e300}},
        {"decoding": SAMPLE | {"seed": -(10**30), "top_k": 10**30, "top_p": 1e-300, "min_p": 1}},
        {"decoding": SAMPLE | {"temperature": 1e-4}},
        {"decoding": BEAM | {"length_penalty": -10}},
        {"decoding": BEAM | {"length_penalty": 10, "num_beams": 16}},
        {"repetition_penalty": 100, "no_repeat_ngram_size": 1000},
    ],
    ids=str,
)
def test_the_farthest_options_are_answered(serving, options):
    with serving("likelihood") as client:
        reply = client.post("/v1/generate", json={"rows": ["good film"], "max_new_tokens": 3} | options)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("temperature", [0, 1e-300, 5e-324])
def test_hardly_any_temperature_is_none(serving, temperature):
    asked = {"model": "likelihood", "prompt": "good film", "max_tokens": 4}
    with serving("likelihood") as client:
        found, likeliest = (client.post("/v1/completions", json=asked | {"temperature": t}) for t in (temperature, 0))
    assert found.json()["choices"] == likeliest.json()["choices"]


@pytest.mark.parametrize("option", [{"echo": 0}, {"n": True}, {"logprobs": 0}, {"stream": 0}, {"best_of": 1.0}])
def test_a_number_is_no_truth_and_no_truth_a_number(serving, option):
    with serving("likelihood") as client:
        reply = client.post("/v1/completions", json={"model": "likelihood", "prompt": "good", **option})
    assert reply.status_code == 422, reply.text


@pytest.mark.parametrize(
    ("name", "route", "body"),
    [
        ("relate", "/v1/relate", {"rows": [{"text": "f " * 50, "spans": [{"start": 0, "end": 1, "label": "A"}] * 50}]}),
        ("choose", "/v1/choose", {"rows": [{"text": "good " * 300, "choices": ["a", "b"] * 50}]}),
        ("rank", "/v1/rank", {"rows": [{"query": "good " * 300, "candidates": ["a"] * 100}]}),
        ("rank", "/rerank", {"query": "good " * 300, "texts": ["a"] * 100}),
        ("score", "/similarity", {"inputs": {"source_sentence": "good " * 300, "sentences": ["a"] * 100}}),
        ("pairs", "/", {"inputs": "good", "parameters": {"candidate_labels": ["a"], "hypothesis_template": "{}{}"}}),
        ("pairs", "/", {"inputs": "a " * 800, "parameters": {"candidate_labels": [str(n) for n in range(100)]}}),
        ("fill", "/v1/fill", {"rows": ["[MASK]" * 300]}),
        ("likelihood", "/v1/generate", {"rows": ["good"] * 50, "decoding": BEAM | {"num_beams": 16}}),
    ],
)
def test_a_short_request_for_much_work_is_refused(serving, name, route, body):
    limits = Limits(body_bytes=100_000, characters=5000, tokens=5000)
    with serving(name, limits=limits) as client:
        reply = client.post(route, json=body)
    assert reply.status_code in (413, 422), reply.text[:200]
    assert "at most" in reply.text or "where the label" in reply.text


def test_a_method_that_a_path_has_not_is_answered_with_those_that_it_has(serving):
    with serving("classify") as client:
        found = {path: client.request("PATCH", path) for path in ("/", "/health", "/v1/classify", "/v1/models")}
    assert {reply.status_code for reply in found.values()} == {405}
    assert {path: reply.headers["allow"] for path, reply in found.items()} == {
        "/": "GET, HEAD, POST", "/health": "GET, HEAD", "/v1/classify": "POST", "/v1/models": "GET"
    }  # fmt: skip
