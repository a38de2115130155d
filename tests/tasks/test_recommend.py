"""The next item: what comes before what, that no future is learnt, and that all items are ranked."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

import lathe.evaluate.stage
from lathe import load
from lathe.cli import main
from lathe.core.data import INTERACTED
from lathe.core.data import load as load_table
from lathe.core.errors import DataError
from lathe.core.keyed import row_keys
from lathe.core.measure import Speed
from lathe.core.predictor import TaskPredictor
from lathe.core.types import IGNORE, Symbols
from lathe.models.baselines import nearest_items, popular_items
from lathe.tasks import Recommend
from lathe.tasks.examples import Examples
from lathe.tasks.forward import task_forward
from lathe.tasks.histories import histories

WALK = ["Alien", "Brazil", "Cube", "Dune", "好电影"]
NEXT = dict(zip(WALK, [*WALK[1:], WALK[0]], strict=True))


def table_of(rows, path="train.jsonl"):
    return SimpleNamespace(rows=rows, path=path)


def task_and_tokenizer(**options):
    task = Recommend(repeats=True, **options)
    return task, task.own_tokenizer({"train": table_of([{"history": tuple(WALK), "item": "Alien"}])})


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def interactions(path, *rows):
    names = ("user", "item", "time")
    return load_table(write(path, [dict(zip(names, row, strict=True)) for row in rows]), INTERACTED)


def test_every_item_is_learnt_from_those_before_it_and_long_histories_in_parts():
    task, tokenizer = task_and_tokenizer(max_length=2)
    ids = tokenizer.get_vocab()
    rows = [
        {"history": ("Alien", "Brazil", "Cube"), "item": "Dune"},
        {"history": ("Dune", "what", "Cube"), "item": "who"},
    ]
    encoded = task.encode(rows, tokenizer)
    assert encoded[0]["input_ids"] == [ids["Brazil"], ids["Cube"]]
    assert encoded[0]["lessons"] == [
        {"input_ids": [ids["Alien"]], "next": [ids["Brazil"]]},
        {"input_ids": [ids["Brazil"], ids["Cube"]], "next": [ids["Cube"], ids["Dune"]]},
    ]
    assert encoded[1]["lessons"] == [{"input_ids": [ids["Dune"], ids["Cube"]], "next": [ids["Cube"], IGNORE]}]
    (lost,) = task.encode([{"history": ("what",)}], tokenizer)
    assert lost["input_ids"] == [ids["[UNK]"]]
    (held,) = task.encode([rows[0] | {"held": True}], tokenizer)
    assert [lesson["next"] for lesson in held["lessons"]] == [[IGNORE, ids["Dune"]]]
    source = Examples(rows, encoded, row_keys("d", 2)).source
    batch = task.collate(source.rows, source.keys, Symbols.of(tokenizer))
    assert batch.items == {"recommend": 4}


@pytest.mark.parametrize("repeats", [True, False])
def test_all_items_are_ranked_but_special_tokens_and_what_was_taken(repeats):
    """Of a model with rows to spare behind its vocabulary, by the logits behind the last item, in any batch."""
    _, tokenizer = task_and_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        GPT2Config(vocab_size=16, bos_token_id=0, eos_token_id=0, n_embd=8, n_layer=1, n_head=1)
    ).eval()
    task = Recommend(repeats=repeats)
    predictor = TaskPredictor(task, tokenizer, task_forward(task, model, tokenizer))
    rows = [{"history": ["Alien", "Dune"]}, {"history": ["Cube"]}, {"history": ["Alien", "never seen", *WALK[:3]]}]
    for row, ranking in zip(rows, predictor(rows), strict=True):
        known = tokenizer.get_vocab()
        ids = [known[item] for item in row["history"] if item in known]
        scores = model(torch.tensor([ids])).logits[0, -1].detach().log_softmax(-1)[:7]
        left = [item for item in WALK if repeats or item not in row["history"]]
        wanted = sorted(left, key=lambda item: -scores[known[item]])  # noqa: B023
        assert list(ranking.ids) == wanted
        np.testing.assert_allclose(ranking.scores, [float(scores[known[item]]) for item in wanted], rtol=1e-4)


def test_interactions_become_histories_in_the_order_of_time_and_the_last_is_left_out(tmp_path, capsys):
    train = interactions(
        tmp_path / "a.jsonl", ("u", "C", 3), ("v", "X", 1), ("u", "A", 1), ("u", "B", 2), ("v", "Y", 2)
    )
    found = histories({"train": train})
    assert found["train"].rows == [
        {"user": "u", "history": ("A",), "item": "B"},
        {"user": "v", "history": ("X",), "item": "Y"},
    ]
    assert found["validation"].rows == [{"user": "u", "history": ("A", "B"), "item": "C", "held": True}]
    assert found["validation"].lines == [1]
    assert "the last item of 1 of 2 users is held out" in capsys.readouterr().err


def test_later_files_go_on_where_the_earlier_end(tmp_path):
    train = interactions(tmp_path / "a.jsonl", ("u", "A", 1), ("u", "B", 2))
    later = interactions(tmp_path / "b.jsonl", ("u", "D", 4), ("u", "C", 3), ("w", "A", 9))
    last = interactions(tmp_path / "c.jsonl", ("u", "E", 5), ("w", "B", 10), ("z", "A", 1), ("z", "B", 2))
    found = histories({"train": train, "validation": later, "test": last})
    pairs = [[(row["history"], row["item"]) for row in found[name].rows] for name in ("validation", "test")]
    assert pairs[0] == [(("A", "B", "C"), "D"), (("A", "B"), "C")]
    assert pairs[1] == [(("A", "B", "C", "D"), "E"), (("A",), "B"), (("A",), "B")]


def test_what_was_taken_before_a_file_is_given_beside_it(tmp_path, capsys):
    before = interactions(tmp_path / "a.jsonl", ("u", "A", 1), ("u", "B", 2))
    test = interactions(tmp_path / "b.jsonl", ("u", "C", 3), ("w", "A", 9), ("w", "B", 10))
    (found,) = histories({"before": before, "test": test}).values()
    assert [(row["history"], row["item"]) for row in found.rows] == [(("A", "B"), "C"), (("A",), "B")]
    assert "nothing is known of 1 users before this file" in capsys.readouterr().err


def test_a_split_by_chance_lets_the_future_be_learnt(tmp_path):
    """Random splits of interactions: the model has seen what came after. Refused with the line."""
    train = interactions(tmp_path / "a.jsonl", ("u", "A", 1), ("u", "C", 3))
    with pytest.raises(
        DataError, match=r"test.jsonl:1: user 'u' took 'B' at 2, before what .* \(until 3\).*split by time"
    ):
        histories({"train": train, "test": interactions(tmp_path / "test.jsonl", ("u", "B", 2), ("u", "D", 4))})
    with pytest.raises(DataError, match="no user has taken two items"):
        histories({"test": interactions(tmp_path / "one.jsonl", ("u", "B", 2))})


def test_the_baselines_are_what_many_take_and_what_the_same_users_take():
    rows = [{"history": ("A", "B"), "item": "C"}, {"history": ("A",), "item": "B"}, {"history": ("X",), "item": "Y"},
            {"history": ("A",), "item": "Z"}]  # fmt: skip
    task = Recommend(repeats=False)
    (popular,) = popular_items(rows, task)([{"history": ("X",)}])
    (nearest,) = nearest_items(rows, task)([{"history": ("X",)}])
    assert popular.ids[:2] == ("A", "B") and nearest.ids[:3] == ("Y", "A", "B")
    (near,) = nearest_items(rows, task)([{"history": ("B",)}])
    assert near.scores[0] == pytest.approx(2 / np.sqrt(2 * 3), abs=1e-5)  # A: two of its three users took B
    (again,) = nearest_items(rows, Recommend(repeats=True))([{"history": ("X",)}])
    assert again.ids[0] in ("X", "Y")


# ------------------------------------------------------------------------------------------------- as a user starts it
@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(lathe.evaluate.stage, "measure", lambda model, rows: Speed(1.0, 2.0, float(len(model(rows)))))
    rows = [
        {"user_id": f"u{start}{n}", "item_id": WALK[(start + at) % 5], "timestamp": at}
        for start in range(5) for n in range(3) for at in range(4)
    ]  # fmt: skip
    return write(tmp_path / "taken.jsonl", rows)


MODEL = ["model.kind=gpt2", "model.n_embd=16", "model.n_layer=1", "model.n_head=1", "model.dropout=0"]
TRAIN = [
    "train.max_steps=80",
    "train.batch_size=8",
    "train.learning_rate=0.02",
    "train.precision=fp32",
    "train.eval_steps=40",
]


def test_from_interactions_to_recommendations(file, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["finetune", *MODEL, "task.kind=recommend", f"data.train={file}", *TRAIN, "-o", str(out)]
    assert main(command) == 0
    scores = json.loads((out / "manifest.json").read_text())["scores"]
    assert scores["validation"]["hit_rate@1"] == 1.0 and "ndcg@10" in scores["validation_baseline"]
    (ranking,) = load(out)([{"history": ["Brazil"]}])
    assert ranking.ids[0] == NEXT["Brazil"] and "Brazil" not in ranking.ids
    asked = write(tmp_path / "asked.jsonl", [{"history": ["Dune"]}, {"history": []}])
    assert main(["predict", str(out), str(asked), "-o", str(tmp_path / "answers.jsonl")]) == 0
    (answer,) = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text("utf-8").splitlines()]
    assert answer["prediction"]["ranking"][0]["id"] == "好电影"
    assert main(["evaluate", str(out), str(file), "-o", str(tmp_path / "report")]) == 0
    assert AutoModelForCausalLM.from_pretrained(out).config.model_type == "gpt2"
    again = ["finetune", f"base={out}", "task.kind=recommend", f"data.train={file}", "train.max_steps=1"]
    assert main([*again, "-o", str(tmp_path / "again")]) == 0
    assert main(["check", str(file), "task.kind=recommend", f"base={out}"]) == 0
    assert "labels Brazil" in " ".join(capsys.readouterr().out.split())


def test_only_items_have_a_tokenizer_of_their_own(file, tmp_path, capsys):
    assert main(["finetune", *MODEL, "task.kind=transform", f"data.train={file}", "-o", str(tmp_path / "out")]) == 2
    assert "give `base` (a model to go on from), or `model` and `tokenizer`" in capsys.readouterr().err
    command = ["finetune", "model.kind=bert", "task.kind=recommend", f"data.train={file}", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "sees the token that it should predict" in capsys.readouterr().err
