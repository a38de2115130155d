"""Sequence to sequence: what is learnt is the target and its end, what is answered depends on the row alone."""

import numpy as np
import pytest
import torch
from tokenizers import processors
from torch.nn import functional as F

from lathe.core import packing
from lathe.core.keyed import row_keys
from lathe.core.predictions import Text
from lathe.core.predictor import TaskPredictor
from lathe.core.types import IGNORE, Symbols, lessons_of
from lathe.generation import Beam, Generation, Greedy
from lathe.models import T5, Bart, TransformerPreset
from lathe.models.baselines import copy_or_lead
from lathe.tasks import Transform
from lathe.tasks.forward import task_forward

SEP = 3
ROWS = [
    {"source": "the film is good", "targets": ("影片很好", "好影片")},
    {"source": "bad", "targets": ("坏",)},
    {"source": "a great film in Paris is not the awful plot", "targets": ("Paris 很好",)},
    {"source": "北京 film", "targets": ("good \ud800 film",)},
]
SHAPES = {
    "transformer": TransformerPreset(
        architecture="encoder-decoder", hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    ),
    "t5": T5(d_model=16, num_layers=2, num_heads=2, d_ff=32, dropout_rate=0.0),
    "bart": Bart(d_model=16, encoder_layers=2, num_attention_heads=2, ffn_dim=32, dropout=0.0),
}


@pytest.fixture(params=list(SHAPES))
def model(request, tokenizer):
    torch.manual_seed(0)
    made = Transform.auto_model.from_config(SHAPES[request.param].config(tokenizer))
    for parameter in made.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(std=0.5)  # or all tokens are about as likely
    return made


@pytest.fixture
def bare(tokenizer):
    """A tokenizer that puts nothing around a text, as of decoders: its end token is known all the same."""
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.eos_token = "[SEP]"
    return tokenizer


def lessons(task, rows, tokenizer):
    return [lesson for row in task.encode(rows, tokenizer) for lesson in lessons_of(row)]


def test_a_row_is_learnt_with_each_of_its_targets_and_answered_once(tokenizer):
    (row,) = Transform().encode(ROWS[:1], tokenizer)
    assert [lesson["labels"] for lesson in row["lessons"]] == [tokenizer.encode(text) for text in ROWS[0]["targets"]]
    assert {tuple(lesson["input_ids"]) for lesson in row["lessons"]} == {tuple(row["input_ids"])}
    assert row["lessons"][0]["length"] == len(tokenizer.encode(ROWS[0]["source"])) + len(tokenizer.encode("影片很好"))


def test_a_target_ends_with_the_end_token_once_whatever_the_tokenizer_puts(bare):
    (lesson,) = lessons(Transform(), ROWS[1:2], bare)
    assert lesson["labels"] == [*bare.encode("坏"), SEP]
    assert lesson["input_ids"] == bare.encode("bad")


def test_a_target_that_is_cut_is_counted_and_does_not_end_there(bare):
    (row,) = Transform(max_target_length=4).encode([{"source": "bad", "targets": ("影片很好不坏",)}], bare)
    assert row["lessons"][0]["labels"] == bare.encode("影片很")
    assert row["truncated"] == 3
    (row,) = Transform(max_target_length=4).encode([{"source": "bad", "targets": ("影片很",)}], bare)
    assert row["lessons"][0]["labels"] == [*bare.encode("影片很"), SEP]
    assert row["truncated"] == 0


def test_only_tokens_of_the_target_carry_loss_and_the_model_shifts_them_by_its_own_rule(model, tokenizer):
    rows = lessons(Transform(), ROWS, tokenizer)
    batch = Transform().collate(rows, row_keys("r", len(rows)), Symbols.of(tokenizer))
    assert batch.items == {"transform": sum(len(row["labels"]) for row in rows)}
    assert (batch.targets["labels"] == IGNORE).any()
    with torch.no_grad():
        (part,) = Transform().loss(model.eval(), batch)
        names = ("input_ids", "attention_mask")
        theirs = model(**{name: batch.inputs[name] for name in names}, labels=batch.targets["labels"]).loss
    assert float(part.total) == pytest.approx(float(theirs) * part.items, rel=1e-5)


@torch.no_grad()
def test_labels_are_smoothed_in_training_alone(model, tokenizer):
    rows, task = lessons(Transform(), ROWS[1:2], tokenizer), Transform(label_smoothing_factor=0.1)
    batch = task.collate(rows, row_keys("r", 1), Symbols.of(tokenizer))
    (plain,), (measured,) = Transform().loss(model.eval(), batch), task.loss(model, batch)
    assert float(measured.total) == float(plain.total)
    for module in model.modules():  # training, but without dropout
        module.training = not isinstance(module, torch.nn.Dropout)
    (smoothed,) = task.loss(model, batch)
    labels = batch.targets["labels"]
    logs = F.log_softmax(model(**batch.inputs, labels=labels).logits.double(), -1)  # [1, S, V]
    nll = -logs.gather(-1, labels[..., None]).sum()
    assert float(smoothed.total) == pytest.approx(float(0.9 * nll - 0.1 * logs.mean(-1).sum()), rel=1e-5)


@pytest.mark.parametrize("decoding", [Greedy(), Beam(num_beams=3)], ids=lambda decoding: decoding.kind)
@pytest.mark.parametrize("more", [{}, {"no_repeat_ngram_size": 2, "stop": ("不",)}])
def test_an_answer_does_not_depend_on_its_batch_mates(model, tokenizer, decoding, more):
    packing.enable(model)  # as it is between two steps of a run
    task = Transform(generation=Generation(decoding=decoding, max_new_tokens=8, batch_size=3, **more))
    predictor = TaskPredictor(task, tokenizer, task_forward(task, model, tokenizer))
    sources = [row["source"] for row in ROWS]
    together = predictor(sources)
    assert together == [predictor([source])[0] for source in sources]
    assert len({answer.text for answer in together}) > 1


def test_decoding_an_oracles_tokens_gives_back_the_targets(tokenizer):
    task = Transform()
    rows = lessons(task, ROWS[:3], tokenizer)
    labels = [row["labels"][:-1] for row in rows]
    sequences = torch.from_numpy(np.array([ids + [0] * (16 - len(ids)) for ids in labels]))
    outputs = {"sequences": sequences, "lengths": torch.tensor([len(ids) for ids in labels])}
    answers = task.decode(outputs, rows, tokenizer)
    assert [answer.text for answer in answers] == [target for row in ROWS[:3] for target in row["targets"]]


def test_the_metric_that_is_asked_for_selects():
    assert [*Transform(metric="rouge_l").metrics] == ["rouge_l", "chrf"]
    pytest.importorskip("sacrebleu")
    of_chinese = Transform().metrics["bleu"]
    assert of_chinese([("今天天气很好啊",)], [Text("今天天气很好")]) > 50  # by characters: words would give 0


def test_a_long_source_is_answered_in_runs_of_whole_sentences(tokenizer):
    source = "good film. Paris plot. Paris is not awful. 很好。"
    task = Transform(max_length=8, long_source="windows")
    (row,) = task.encode([{"source": source}], tokenizer)
    parts = ("good film. Paris plot.", "Paris is not awful.", "很好。")
    assert [window["input_ids"] for window in row["windows"]] == [tokenizer.encode(part) for part in parts]
    assert row["truncated"] == 0
    assert task.merge([Text("One."), Text("二。"), Text("三。")], row) == Text("One. 二。三。")


def test_a_sentence_that_is_too_long_by_itself_is_cut_into_windows_and_nothing_is_lost(tokenizer):
    task = Transform(max_length=6, long_source="windows")
    (row,) = task.encode([{"source": "good bad great awful film plot the a is"}], tokenizer)
    ids = [token for window in row["windows"] for token in window["input_ids"][1:-1]]
    assert ids == tokenizer.encode("good bad great awful film plot the a is", add_special_tokens=False)
    assert all(len(window["input_ids"]) <= 6 for window in row["windows"])


def test_what_is_cut_off_a_source_is_counted(tokenizer):
    (row,) = Transform(max_length=6).encode([{"source": "good " * 9}], tokenizer)
    assert len(row["input_ids"]) == 6
    assert row["truncated"] == 5


def test_the_prefix_stands_before_every_window(tokenizer):
    task = Transform(max_length=6, source_prefix="not: ", long_source="windows")
    (row,) = task.encode([{"source": "good bad great awful film"}], tokenizer)
    (first,) = tokenizer.encode("not", add_special_tokens=False)
    assert len(row["windows"]) > 1
    assert {window["input_ids"][1] for window in row["windows"]} == {first}


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        ([("Eins zwei drei.", "One two three.")], "First of all. Second. Third. Fourth."),
        ([("One. Two. Three. Four. Five. Six.", "One. Two.")], "First of all. Second."),
    ],
)
def test_the_baseline_copies_or_takes_the_beginning_whichever_is_as_long_as_targets_are(rows, answer):
    simple = copy_or_lead([{"source": source, "targets": (target,)} for source, target in rows])
    assert simple([{"source": "First of all. Second. Third. Fourth."}, "Only."]) == [Text(answer), Text("Only.")]
