"""The examples of the guide, sent as they stand there."""

import json
import re
from pathlib import Path

import pytest

from lathe.serve.served import Models, Served

from .conftest import client_of

GUIDE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
EXAMPLES = re.findall(r"^curl localhost:8000(\S+) .*? -d '(.*)'$", GUIDE, re.MULTILINE)
NAMES = {"reviews": "classify", "names": "tag", "vectors": "embed", "stories": "likelihood", "assistant": "chat"}


def test_there_are_examples():
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize(("route", "body"), EXAMPLES, ids=[route for route, _ in EXAMPLES])
def test_an_example_of_the_guide_is_answered(opened, route, body):
    known = opened(*NAMES.values())
    named = [Served(name, "1", known[kind].predictor, known[kind].generator) for name, kind in NAMES.items()]
    with client_of(Models(named)) as client:
        reply = client.post(route, json=json.loads(body))
    assert reply.status_code == 200, reply.text


def test_every_route_is_in_the_guide(opened):
    with client_of(opened("classify")) as client:
        routes = client.get("/openapi.json").json()["paths"]
    tasks = re.compile(r"/v1/(?!models|embeddings|completions|chat/completions)\w+(/bulk)?$")
    told = {route for route in routes if not tasks.match(route) and route.split("{")[0].rstrip("/") not in GUIDE}
    assert told == set()
