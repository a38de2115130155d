"""Cross-encoders: lists of a positive and its negatives, in the order of the scores; and negatives that are hard."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForSequenceClassification

import lathe.evaluate.stage
from lathe import load
from lathe.cli import main
from lathe.core.keyed import row_keys
from lathe.core.measure import Speed
from lathe.core.predictor import TaskPredictor
from lathe.core.types import Symbols
from lathe.models.pretrained import save_model
from lathe.runtimes.eager import torch_forward
from lathe.tasks import Rank
from lathe.tasks.examples import Examples

ROWS = [
    {"query": "film", "positives": ("great film", "good film"), "negatives": ("awful plot", "bad", "bad  FILM")},
    {"query": "FILM", "positives": ("bad film",), "negatives": ()},
]


def batch_of(rows, tokenizer, task):
    source = Examples(rows, task.encode(rows, tokenizer), row_keys("d", len(rows))).source
    return task.collate(source.rows, source.keys, Symbols.of(tokenizer))


def model_of(bert_config):
    torch.manual_seed(0)
    bert_config.num_labels = 1
    return AutoModelForSequenceClassification.from_config(bert_config).eval()


def test_each_positive_is_learnt_beside_negatives_that_take_turns_and_are_not_sought(tokenizer):
    """ "bad  FILM" is what the other row seeks; a row without negatives teaches nothing."""
    batch = batch_of(ROWS, tokenizer, Rank(negatives=1))
    texts = [text.replace(" [PAD]", "") for text in tokenizer.batch_decode(batch.inputs["input_ids"])]
    wanted = [("great film", "awful plot"), ("good film", "bad")]
    assert texts == [f"[CLS] film [SEP] {text} [SEP]" for pair in wanted for text in pair]
    assert batch.targets["counts"].tolist() == [2, 2] and batch.items == {"rank": 2}


@pytest.mark.parametrize("loss_of", ["list", "pairs"])
def test_the_loss_is_that_of_lists_or_of_pairs(tokenizer, bert_config, loss_of):
    task, model = Rank(loss_of=loss_of), model_of(bert_config)
    rows = [ROWS[0], {"query": "好", "positives": ("很好",), "negatives": ("很坏",)}]
    batch = batch_of(rows, tokenizer, task)
    assert batch.targets["counts"].tolist() == [4, 4, 2]
    scores = model(**batch.inputs).logits.squeeze(-1).split([4, 4, 2])
    if loss_of == "list":
        wanted = sum(-one.log_softmax(0)[0] for one in scores)
    else:
        wanted = sum(-F.logsigmoid(one[0]) - F.logsigmoid(-one[1:]).sum() for one in scores)
    (part,) = task.loss(model, batch)
    torch.testing.assert_close(part.total, wanted)
    assert part.items == {"list": 3, "pairs": 10}[loss_of]


def test_candidates_come_in_the_order_of_their_scores(tokenizer, bert_config):
    model = model_of(bert_config)
    row = {"query": "good film", "candidates": ["很好", "a great film", "bad", "Paris"]}
    (ranking,) = TaskPredictor(Rank(), tokenizer, torch_forward(model))([row])
    pairs = tokenizer([row["query"]] * 4, row["candidates"], padding=True, return_tensors="pt")
    scores = model(**{name: pairs[name] for name in ("input_ids", "attention_mask")}).logits.squeeze(-1)
    order = scores.argsort(descending=True).tolist()
    assert list(ranking.ids) == [row["candidates"][place] for place in order]
    np.testing.assert_allclose(ranking.scores, scores[order].tolist(), rtol=1e-4)


# ------------------------------------------------------------------------------------------------- as a user starts it
@pytest.fixture(autouse=True)
def no_stopwatch(monkeypatch):
    monkeypatch.setattr(lathe.evaluate.stage, "measure", lambda model, rows: Speed(1.0, 2.0, float(len(model(rows)))))


@pytest.fixture
def files(tmp_path, tokenizer, bert_config):
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    torch.manual_seed(0)
    save_model(AutoModel.from_config(bert_config), tokenizer, tmp_path / "base")
    pairs = [
        ("film", "a great film"),
        ("plot", "a great plot"),
        ("影片", "很好影片"),
        ("film in Paris", "a great film"),
    ]
    write(tmp_path / "rows.jsonl", [{"query": query, "positive": text} for query, text in pairs * 4])
    texts = [text for _, text in pairs[:3]] + ["the awful film", "the awful plot", "很坏影片"]
    write(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def test_from_queries_to_a_ranking_by_three_commands(files, capsys):
    """Negatives that BM25 finds, a model that tells them apart, and an answer; sentence-transformers agrees."""
    hard, out, texts = files / "hard.jsonl", files / "out", f"data.collection={files / 'texts.jsonl'}"
    assert main(["negatives", str(files / "rows.jsonl"), texts, "count=2", "random=0", "-o", str(hard)]) == 0
    first = json.loads(hard.read_text("utf-8").splitlines()[0])
    assert first["positives"] == ["a great film"] and first["negatives"] == ["the awful film"]
    data = [f"data.{split}={hard}" for split in ("train", "validation")] + [texts]
    steps = ["train.max_steps=30", "train.batch_size=4", "train.learning_rate=0.01", "train.eval_steps=15"]
    command = ["finetune", f"base={files / 'base'}", "task.kind=rank", *data, *steps, "train.precision=fp32"]
    assert main([*command, "-o", str(out)]) == 0
    assert "rankings are of all 6 texts of texts.jsonl" in capsys.readouterr().err
    scores = json.loads((out / "manifest.json").read_text())["scores"]
    assert scores["validation"]["recall@1"] == 1 > scores["validation_baseline"]["recall@1"]
    model = load(out)
    (ranking,) = model([{"query": "plot", "candidates": ["the awful plot", "a great plot"]}])
    assert ranking.ids[0] == "a great plot"
    assert main(["evaluate", str(out), str(hard), texts, "-o", str(files / "report")]) == 0
    theirs = pytest.importorskip("sentence_transformers").CrossEncoder(str(out), device="cpu")
    found = theirs.predict([("plot", text) for text in ranking.ids], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(ranking.scores, found, rtol=1e-4, atol=1e-5)
    again = files / "again.jsonl"
    assert main(["negatives", str(hard), f"bundle={out}", "count=3", "-o", str(again)]) == 0


def test_rows_without_negatives_are_refused_with_the_way_to_some(files, capsys):
    command = ["finetune", f"base={files / 'base'}", "task.kind=rank", f"data.train={files / 'rows.jsonl'}"]
    assert main([*command, "-o", str(files / "out")]) == 2
    assert "`lathe negatives rows.jsonl -o with-negatives.jsonl` finds some" in capsys.readouterr().err


def test_what_may_be_right_is_passed_over(files):
    """First places, and what scores nearly as high as what is sought."""

    def negatives(*options):
        out = files / f"{len(list(files.iterdir()))}.jsonl"
        texts = f"data.collection={files / 'texts.jsonl'}"
        assert (
            main(["negatives", str(files / "rows.jsonl"), texts, "count=3", "random=0", *options, "-o", str(out)]) == 0
        )
        return [json.loads(line)["negatives"] for line in out.read_text("utf-8").splitlines()]

    assert negatives()[2] == ["很坏影片"]
    easy = negatives("random=2")[2]
    assert easy[0] == "很坏影片" and len(easy) == 3 and "很好影片" not in easy and easy == negatives("random=2")[2]
    assert negatives("skip=2")[2] == [] and negatives("max_share=0.1")[2] == []
