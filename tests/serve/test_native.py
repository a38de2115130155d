"""Our own routes: every task answers over HTTP as it does in Python."""

import json
from typing import get_args

import pytest

from lathe.generation import Generation
from lathe.loader import load
from lathe.serve.schema import WIRES, GenerateAnswer, answer_of
from lathe.tasks import AnyTask

from .conftest import EXAMPLES

KINDS = {name: getattr(example.task, "kind", name) for name, example in EXAMPLES.items()}


def same(found, wanted):
    """Equal, numbers up to 1e-5."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return found == (pytest.approx(wanted, abs=1e-5) if isinstance(wanted, float) else wanted)


def test_every_member_of_the_union_is_here():
    members = {member.__dataclass_fields__["kind"].default for member in get_args(get_args(AnyTask)[0])}
    assert members | {"fill", "likelihood"} == set(KINDS.values()) == set(WIRES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_answers_of_every_task_are_those_of_the_loaded_model(name, every, serving):
    model, rows, route = load(every(name)), EXAMPLES[name].rows, f"/v1/{KINDS[name]}"
    wanted = [model([row])[0].to_json() for row in rows]
    with serving(name) as client:
        reply = client.post(route, json={"rows": rows})
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
        bulk = client.post(f"{route}/bulk", content=lines, headers={"content-type": "application/x-ndjson"})
    assert reply.status_code == bulk.status_code == 200, reply.text
    answer_of(KINDS[name]).model_validate(reply.json())
    assert reply.json()["model"].startswith(f"{name}@")
    assert same(reply.json()["predictions"], wanted)
    told = [json.loads(line) for line in bulk.text.splitlines()]
    assert same([one["prediction"] for one in told], wanted)
    assert {one["model"] for one in told} == {reply.json()["model"]}


def test_a_language_model_writes(opened, serving):
    served = opened("likelihood")["likelihood"]
    with serving("likelihood") as client:
        reply = client.post("/v1/generate", json={"rows": ["good film", "很"], "max_new_tokens": 5})
    assert reply.status_code == 200, reply.text
    GenerateAnswer.model_validate(reply.json())
    wanted = [one._asdict() for one in served.generator(["good film", "很"], Generation(max_new_tokens=5))]
    assert reply.json()["predictions"] == wanted
