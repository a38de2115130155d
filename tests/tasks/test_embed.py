"""Embeddings: what is compared with what, that nothing sought is pushed away, and that others open the folder."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, BertConfig, GPT2Config, T5Config

import lathe.evaluate.stage
from lathe import load
from lathe.cli import main
from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys
from lathe.core.measure import Speed
from lathe.core.metrics import METRICS
from lathe.core.predictions import Number, Ranking, Vector
from lathe.core.predictor import TaskPredictor
from lathe.core.types import Symbols
from lathe.models.baselines import BM25, BM25Search
from lathe.models.pretrained import save_model
from lathe.runtimes.eager import torch_forward
from lathe.tasks import Embed
from lathe.tasks.contrast import ALSO, NEGATIVE, POSITIVE, QUERY, SCORED, Mark, contrast, ordered
from lathe.tasks.examples import Examples
from lathe.tasks.training import TaskTrain, mean_loss

ROWS = [
    {"query": "film", "positives": ("great film", "good film"), "negatives": ("awful plot",)},
    {"query": "plot", "positives": ("the plot",), "negatives": ()},
    {"query": "好", "positives": ("很好",), "negatives": ("很坏", "北京")},
]
TRAIN = ["train.batch_size=4", "train.learning_rate=0.01", "train.precision=fp32"]


def slots_of(rows, width=4, seed=0):
    """Rows of (part, text), each with a vector of its own."""
    marks = torch.zeros(len(rows), max(map(len, rows)), 3)
    for number, row in enumerate(rows):
        for place, (part, text) in enumerate(row):
            marks[number, place] = torch.tensor(Mark.of(part, text))
    vectors = torch.randn(*marks.shape[:2], width, generator=torch.Generator().manual_seed(seed))
    return torch.cat((vectors, marks), -1)


def lessons(rows, tokenizer, task=None):
    task = task or Embed(scored=False)
    examples = Examples(rows, task.encode(rows, tokenizer), row_keys("d", len(rows)))
    return task.collate(examples.source.rows, examples.source.keys, Symbols.of(tokenizer))


def test_the_loss_is_cross_entropy_over_all_positives_and_negatives_of_the_step():
    slots = slots_of([[(QUERY, "a"), (POSITIVE, "A1"), (NEGATIVE, "x")], [(QUERY, "b"), (POSITIVE, "B1")]])
    a, b = F.normalize(slots[0, :3, :4], dim=-1), F.normalize(slots[1, :2, :4], dim=-1)
    texts = torch.stack((a[1], a[2], b[1]))
    wanted = [F.cross_entropy(texts @ query / 0.1, torch.tensor(at)) for query, at in ((a[0], 0), (b[0], 2))]
    torch.testing.assert_close(contrast(slots, 0.1, ()), torch.stack(wanted))


def test_what_is_sought_in_any_row_is_no_negative_and_neither_is_the_query_itself():
    """In-batch negatives that answer the query, too, and duplicates: sentence-transformers pushes them away."""
    alone = slots_of([[(QUERY, "a"), (POSITIVE, "A1"), (NEGATIVE, "x")]])
    beside = slots_of([[(QUERY, "b"), (POSITIVE, "a  2"), (NEGATIVE, "A"), (NEGATIVE, "Ａ1")]], seed=1)
    both = torch.cat((F.pad(alone, (0, 0, 0, 1)), beside))
    both[0, 3, -3:] = torch.tensor(Mark.of(ALSO, "A 2"))
    torch.testing.assert_close(contrast(both, 0.1, ())[0], contrast(alone, 0.1, ())[0])
    both[0, 3, -3:] = 0  # not known to be sought
    assert contrast(both, 0.1, ())[0] > contrast(alone, 0.1, ())[0] + 1e-4


def test_rows_know_all_that_any_row_seeks_for_their_query(tokenizer):
    rows = [*ROWS, {"query": "Film", "positives": ("film in Paris",), "negatives": ()}]
    marks = lessons(rows, tokenizer).targets["marks"]  # the lessons of the rows in order
    assert marks[:, :, 0].int().tolist() == [
        [1, 2, 3, 4, 4],
        [1, 2, 3, 4, 4],
        [1, 2, 0, 0, 0],
        [1, 2, 3, 3, 0],
        [1, 2, 4, 4, 0],
    ]
    assert marks[0, 1].tolist()[1:] == marks[1, 3].tolist()[1:] == marks[4, 2].tolist()[1:]  # "great film"


def test_negatives_take_turns_among_the_positives_of_a_row(tokenizer):
    row = {"query": "film", "positives": ("good", "great", "bad"), "negatives": ("a", "the", "in")}
    batch = lessons([row], tokenizer, Embed(scored=False, negatives=2))
    words = tokenizer.batch_decode(batch.inputs["input_ids"], skip_special_tokens=True)
    assert words == ["film", "good", "a", "the", "film", "great", "in", "a", "film", "bad", "the", "in"]
    assert batch.items == {"embed": 3}


def test_matryoshka_is_the_mean_over_the_first_numbers_and_the_whole():
    slots = slots_of([[(QUERY, "a"), (POSITIVE, "1")], [(QUERY, "b"), (POSITIVE, "2")]])
    cut = torch.cat((slots[..., :2], slots[..., -3:]), -1)
    wanted = (contrast(slots, 0.1, ()) + contrast(cut, 0.1, ())) / 2
    torch.testing.assert_close(contrast(slots, 0.1, (2,)), wanted)


def test_scored_pairs_have_the_loss_of_sentence_transformers():
    scores = [4.0, 1.0, 1.0, 0.2, 3.0]
    vectors = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(3))
    marks = torch.tensor([[Mark(SCORED, score)] * 2 for score in scores])
    loss = pytest.importorskip("sentence_transformers.losses").CoSENTLoss(None, scale=20.0)
    theirs = loss.compute_loss_from_embeddings([*vectors.unbind(1)], torch.tensor(scores))
    ours = ordered(torch.cat((vectors, marks), -1), 0.05, ())
    assert ours.shape == (5,)
    torch.testing.assert_close(ours.mean(), theirs)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_vector_is_pooled_without_padding_and_pairs_and_candidates_are_cosines(tokenizer, bert_config, pooling):
    torch.manual_seed(0)
    model = AutoModel.from_config(bert_config).eval()
    predictor = TaskPredictor(Embed(pooling=pooling), tokenizer, torch_forward(model))
    asked = [
        "film",
        {"text": "a great film in Paris", "text_pair": "很好"},
        {"query": "film", "candidates": ["很好", "film", "bad plot"]},
        {"query": "a great film in Paris"},
    ]
    vector, number, ranking, longer = predictor(asked)
    assert isinstance(vector, Vector) and isinstance(number, Number) and isinstance(ranking, Ranking)
    hidden = model(**tokenizer("film", return_tensors="pt")).last_hidden_state[0]
    wanted = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling]
    torch.testing.assert_close(torch.tensor(vector.values), F.normalize(wanted, dim=0), rtol=1e-4, atol=1e-6)
    (other,) = predictor(["很好"])
    assert number.value == pytest.approx(np.dot(longer.values, other.values), abs=1e-5)
    assert ranking.ids[0] == "film" and ranking.scores[0] == pytest.approx(1, abs=1e-5)
    assert math.isclose(np.linalg.norm(longer.values), 1, abs_tol=1e-5)


@pytest.mark.parametrize(
    ("task", "shape", "message"),
    [
        (Embed(), T5Config(), "needs an encoder"),
        (Embed(pooling="cls"), GPT2Config(), "sees no other; set task.pooling=mean or last"),
        (Embed(matryoshka_dims=(8, 999)), BertConfig(), "999 is not below 768"),
    ],
)
def test_models_that_give_no_such_vectors_are_refused(task, shape, message):
    with pytest.raises(RecipeError, match=message):
        task.check_model(shape, None)


def test_bm25_is_the_formula_and_knows_chinese():
    """By hand: N = 3, both words in two texts, lengths 2, 1, 3 around 2."""
    index = BM25(["good film", "film", "a good plot"])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    wanted = [idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / 2)) for length in (2, 1)]
    np.testing.assert_allclose(index.scores("film"), [*wanted, 0])
    (ranking,) = BM25Search()([{"query": "北京好", "candidates": ("京北", "在北京", "film")}])
    assert ranking.ids == ("在北京", "京北", "film")
    assert BM25([]).scores("film").tolist() == [] and BM25(["", " "]).scores("film").tolist() == [0, 0]


# ------------------------------------------------------------------------------------------------- as a user starts it
@pytest.fixture(autouse=True)
def no_stopwatch(monkeypatch):
    monkeypatch.setattr(lathe.evaluate.stage, "measure", lambda model, rows: Speed(1.0, 2.0, float(len(model(rows)))))


@pytest.fixture
def files(tmp_path, tokenizer, bert_config):
    torch.manual_seed(0)
    save_model(AutoModel.from_config(bert_config), tokenizer, tmp_path / "base")
    pairs = [("film", "a great film"), ("plot", "the plot is bad"), ("Paris", "in Paris"), ("好", "影片很好"),
             ("坏", "影片很坏"), ("awful", "the awful plot")]  # fmt: skip
    write = lambda name, rows: (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")  # noqa: E731
    write("rows.jsonl", [{"query": q, "positive": p} for q, p in pairs * 2])
    write("texts.jsonl", [{"id": f"d{n}", "text": p} for n, (_, p) in enumerate(pairs)] + [{"id": "x", "text": "not"}])
    write("named.jsonl", [{"query": q, "positives": [f"d{n}"]} for n, (q, _) in enumerate(pairs)])
    return tmp_path


def finetuned(files, *options):
    command = ["finetune", f"base={files / 'base'}", "task.kind=embed", *TRAIN, *options, "-o", str(files / "out")]
    assert main(command) == 0
    return files / "out"


def test_it_is_scored_on_all_texts_and_sentence_transformers_opens_it(files, capsys):
    """Parity chain: the vectors of the folder in sentence-transformers are those of the loaded bundle."""
    rows = [f"data.{split}={files / 'rows.jsonl'}" for split in ("train", "validation")]
    out = finetuned(files, *rows, "train.max_steps=40", f"data.test={files / 'rows.jsonl'}")
    assert "rankings are of all 6 texts that stand in rows.jsonl" in capsys.readouterr().err
    scores = json.loads((out / "manifest.json").read_text())["scores"]
    assert scores["test"]["ndcg@10"] > 0.8 and 0 < scores["test_baseline"]["ndcg@10"] < 1
    model, texts = load(out), ["film", "a great film in Paris not bad", "影片很好"]
    theirs = pytest.importorskip("sentence_transformers").SentenceTransformer(str(out), device="cpu").encode(texts)
    np.testing.assert_allclose([answer.values for answer in model(texts)], theirs, atol=1e-5)
    assert AutoModel.from_pretrained(out).config.architectures == ["BertModel"]


def test_a_collection_is_searched_whole_and_rows_may_name_its_ids(files, capsys):
    named, texts = files / "named.jsonl", files / "texts.jsonl"
    data = [f"data.train={named}", f"data.validation={named}", f"data.collection={texts}"]
    out = finetuned(files, *data, "train.max_steps=2")
    report = files / "report"
    assert main(["evaluate", str(out), str(named), f"data.collection={texts}", "-o", str(report)]) == 0
    assert "rankings are of all 7 texts of texts.jsonl" in capsys.readouterr().err
    lines = [json.loads(line) for line in (report / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert lines[0]["gold"] == {"d0": 1.0} and {one["id"] for one in lines[0]["prediction"]["ranking"]} <= {
        *(f"d{n}" for n in range(6)),
        "x",
    }
    scores = json.loads((report / "scores.json").read_text())
    golds = [line["gold"] for line in lines]
    found = [Ranking.of(*zip(*((one["id"], one["score"]) for one in line["prediction"]["ranking"]), strict=True))
             for line in lines]  # fmt: skip
    assert METRICS["ndcg@10"].metric(golds, found) == pytest.approx(scores["scores"]["ndcg@10"]["value"])
    assert scores["baseline"].keys() == scores["scores"].keys()


def test_an_id_that_the_collection_has_not_is_told_with_its_line(files, capsys):
    (files / "wrong.jsonl").write_text(
        '{"query": "film", "positives": ["d0"]}\n{"query": "plot", "positives": ["d9"]}\n'
    )
    data = [f"data.train={files / 'wrong.jsonl'}", f"data.collection={files / 'texts.jsonl'}"]
    assert main(["finetune", f"base={files / 'base'}", "task.kind=embed", *data, "-o", str(files / "out")]) == 2
    assert "wrong.jsonl:2: positives: 'd9' is neither an id nor a text of texts.jsonl" in capsys.readouterr().err
    (files / "twice.jsonl").write_text('{"id": "a", "text": "film"}\n{"id": "a", "text": "plot"}\n')
    data[1] = f"data.collection={files / 'twice.jsonl'}"
    assert main(["finetune", f"base={files / 'base'}", "task.kind=embed", *data, "-o", str(files / "out")]) == 2
    assert "twice.jsonl:2: the id 'a' stands in line 1, too" in capsys.readouterr().err


def test_ids_without_the_texts_they_name_are_no_texts(files, capsys):
    """Everything would be learnt and scored on the words "d0" and "d1"."""
    data = [f"data.train={files / 'named.jsonl'}", "train.max_steps=1"]
    assert main(["finetune", f"base={files / 'base'}", "task.kind=embed", *data, "-o", str(files / "out")]) == 2
    assert "named.jsonl:1: positives: 'd0' is an id, as all of them are" in capsys.readouterr().err


def test_pairs_with_a_label_are_not_all_alike(files, capsys):
    """Read as positives, the different ones would be pulled together."""
    rows = [{"sentence1": "good", "sentence2": "film", "label": name} for name in ("same", "different")]
    (files / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = f"data.train={files / 'labelled.jsonl'}"
    assert main(["finetune", f"base={files / 'base'}", "task.kind=embed", data, "-o", str(files / "out")]) == 2
    assert "'same'" in capsys.readouterr().err


def test_check_shows_which_text_is_what(files, capsys):
    assert main(["check", str(files / "rows.jsonl"), "task.kind=embed", f"base={files / 'base'}"]) == 0
    shown = capsys.readouterr().out
    assert "task.kind=embed" in shown and "  query [CLS] film [SEP]\n  positive [CLS] a great film [SEP]" in shown


WORDS = ["good", "bad", "great", "awful", "plot", "the", "a", "is", "not", "in", "Paris", "好"]


def test_the_validation_loss_is_over_as_many_rows_as_in_a_step_however_they_are_cut(tokenizer, bert_config):
    torch.manual_seed(0)
    task, model = Embed(scored=False), AutoModel.from_config(bert_config)
    rows = [{"query": word, "positives": (f"the {word} film",), "negatives": ()} for word in WORDS]
    examples = Examples(rows, task.encode(rows, tokenizer), row_keys("d", len(rows)))
    predictor = TaskPredictor(task, tokenizer, torch_forward(model))
    whole, cut, halves = (
        mean_loss(model, predictor, examples, TaskTrain(batch_size=size, tokens_per_batch=tokens, precision="fp32"))
        for size, tokens in ((12, 10**6), (12, 16), (6, 10**6))
    )
    assert cut == pytest.approx(whole, rel=1e-5) and halves < whole - 0.1
