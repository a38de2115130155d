"""The invariants, for every objective and every task: a new member of a union is tested the day it is named."""

import tempfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers import ElectraConfig, XLNetLMHeadModel

from lathe.core import packing, parallel
from lathe.core.batches import EncodedRows, Plan, StepSize, batches
from lathe.core.checkpoint import newest, save
from lathe.core.coupled import Coupled
from lathe.core.data import Message
from lathe.core.keyed import row_keys
from lathe.core.learn import State, Train, restore, saved_tensors, train
from lathe.core.optim import SGD, AdamW
from lathe.core.predictions import Event, Relation, Span
from lathe.core.predictor import TaskPredictor
from lathe.core.tagging import join_tokens
from lathe.core.tokens import TokenFile
from lathe.core.types import IGNORE, Symbols
from lathe.finetune.adapt import IA3, BitFit, Full, Lora
from lathe.generation import Generation
from lathe.models import T5, Bart, TransformerPreset, XLNet
from lathe.models.pretrained import Opened
from lathe.objectives import (
    AnyObjective,
    CausalLM,
    Denoising,
    MaskedLM,
    MaskedNSP,
    MaskedSOP,
    PermutationLM,
    PrefixLM,
    ReplacedTokens,
    SimCSE,
    SpanCorruption,
)
from lathe.objectives.masking import Words
from lathe.objectives.pairs import MaskedPairs
from lathe.runtimes.eager import torch_forward
from lathe.tasks import (
    AnswerQuestion,
    AnyTask,
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
from lathe.tasks.examples import Examples

TEXTS = [
    "good film",
    "the plot is not bad",
    "很好",
    "bad",
    "a great film in Paris not the awful plot",
    "影片很坏 plot",
    "北京",
]
DOCUMENTS = [
    "good film. Paris is not bad. 很好。 The plot",
    "北京影片很坏。很好！好看。",
    "Bad.",
    "a great film in Paris. Not the awful plot of a film that is not good. Awful film.",
    "the film. Paris plot. " * 3,
]
LABELS = ["pos", "pos", "pos", "neg", "pos", "neg", "neg"]


PAIR = TransformerPreset(
    architecture="encoder-decoder", hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
)


@dataclass
class Member:
    """One member of a union with rows and a model to try it on."""

    objective: Any
    rows: list[dict]
    build: Any  # dropout -> model

    def source(self, tokenizer):
        if isinstance(self.rows, TokenFile):
            return self.rows
        keys = row_keys("rows", len(self.rows))
        if hasattr(self.objective, "encode"):
            return Examples(self.rows, self.objective.encode(self.rows, tokenizer), keys).source
        return EncodedRows(self.rows, keys)


def token_rows(tokenizer):
    return [{"input_ids": ids} for ids in tokenizer([*TEXTS, "the film " * 7])["input_ids"]] + [{"input_ids": [5]}]


def in_rows(objective):
    """A text objective with the rows that its layout asks for."""

    def build(tokenizer, documents=DOCUMENTS):
        with tempfile.TemporaryDirectory() as folder:
            tokens = TokenFile.write(Path(folder) / "tokens", documents, tokenizer, 16, objective.layout)
            return objective, replace(tokens, ids=np.array(tokens.ids), marks=np.array(tokens.marks))

    return build


def rows_of(source):
    return [source[i] for i in range(len(source))]


def classify(_):
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    return Classify(labels=("neg", "pos")), rows


def tag(_):
    tokens = [
        ("great", "film", "in", "Paris"),
        ("北", "京", "很", "好"),
        ("Paris",),
        ("the", "bad", "film", "is", "awful"),
    ]
    rows = []
    for words in tokens:
        text, offsets = join_tokens(words)
        spans = tuple(Span(s, e, "LOC") for s, e in offsets if text[s:e] in ("Paris", "北"))
        rows.append({"text": text, "tokens": words, "offsets": offsets, "spans": spans})
    rows.append({"text": "not in Paris 北京", "spans": (Span(7, 12, "LOC"), Span(13, 15, "LOC"))})
    return Tag(labels=("LOC", "PER")), rows


def pairs(kind):
    """Rows of two texts and of one, which a batch may mix where it comes from Python."""

    def build(_):
        given = [{"text": a, "text_pair": b} for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)]
        if kind == "score":
            scores = [0.0, 1.5, 5.0, 2.0, 4.5, 3.0, 0.5]
            return Score(mean=2.0, scale=1.5), [row | {"score": s} for row, s in zip(given, scores, strict=True)]
        rows = [row | {"label": label} for row, label in zip(given, LABELS, strict=True)]
        del rows[2]["text_pair"]
        losses = {"class_weights": {"neg": 2.5, "pos": 1.0}, "focal_gamma": 2.0, "label_smoothing_factor": 0.1}
        return Classify(labels=("neg", "pos"), **(losses if kind == "weighted" else {})), rows

    return build


def windows(_):
    task, rows = classify(_)
    return replace(task, max_length=6, stride=1), rows


def multilabel(_):
    labels = [("a",), (), ("a", "b"), ("b",), (), ("c", "a"), ("a",)]
    rows = [{"text": text, "labels": names} for text, names in zip(TEXTS, labels, strict=True)]
    return MultiLabel(labels=("a", "b", "c"), class_weights={"a": 1.0, "b": 3.0, "c": 4.0}), rows


def choose(_):
    counts = [2, 3, 2, 4, 2, 3, 5]
    return Choose(), [
        {"text": text, "question": "is the film good", "choices": tuple(TEXTS[:n]), "label": n - 2}
        for text, n in zip(TEXTS, counts, strict=True)
    ]


def transform(_):
    targets = [("film",), ("not bad", "good"), ("好影片",), ("bad film",), ("Paris", "the plot"), ("很坏",), ("京",)]
    return Transform(), [{"source": text, "targets": of} for text, of in zip(TEXTS, targets, strict=True)]


def chat(tokenizer):
    prepare(tokenizer)
    turns = [("good film", "not bad"), ("很好", "很坏"), ("the plot", "is awful"), ("Paris", "great film in Paris")]
    messages = [Message(*turn) for said in turns for turn in zip(("user", "assistant"), said, strict=True)]
    rows = [{"messages": tuple(messages[: 2 * n])} for n in range(1, 5)]
    return Chat(max_length=30, generation=Generation(max_new_tokens=4)), rows


def intent(_):
    _, tagged = tag(_)
    names = ["find", "play", "play", "find", "find"]
    rows = [row | {"label": name} for row, name in zip(tagged, names, strict=True)]
    return Intent(labels=("find", "play", "slot:LOC", "slot:PER")), rows


def relate(entities):
    """Entities of Chinese and English texts, nested ones, several relations, and none."""

    def build(_):
        _, tagged = tag(_)
        rows = [{"text": row["text"], "spans": row["spans"], "relations": ()} for row in tagged]
        film, paris, china = Span(6, 10, "ART"), Span(14, 19, "LOC"), Span(0, 1, "LOC")
        rows[0] |= {"spans": (film, paris), "relations": (Relation(film, paris, "in"), Relation(paris, film, "of"))}
        whole = Span(0, 2, "LOC")
        rows[1] |= {"spans": (china, whole, Span(3, 4, "ART")), "relations": (Relation(china, whole, "in"),)}
        rows[4] |= {
            "text": f"{'good film ' * 9}not in Paris 北京",
            "spans": (Span(97, 102, "LOC"), Span(103, 105, "LOC")),
        }
        find = {"labels": ("in", "of", "entity:ART", "entity:LOC"), "stride": 4} if entities == "find" else {}
        return Relate(**{"labels": ("in", "of"), "max_length": 20, "entities": entities} | find), rows

    return build


def event(_):
    """Two events that share an argument, one that says nothing, one in a long text."""
    _, tagged = tag(_)
    rows = [{"text": row["text"], "events": ()} for row in tagged]
    paris = Span(14, 19, "Place")
    rows[0]["events"] = (Event(Span(0, 5, "Play"), (paris,)), Event(Span(6, 10, "Show"), (Span(0, 5, "What"), paris)))
    rows[1]["events"] = (Event(Span(0, 1, "Show"), (Span(2, 4, "What"),)), Event(Span(1, 2, "Play"), ()))
    rows[4]["text"] = f"{'good film ' * 9}not in Paris 北京"
    rows[4]["events"] = (Event(Span(90, 93, "Play"), (Span(97, 102, "Place"), Span(103, 105, "Place"))),)
    return FindEvents(labels=("Play", "Show", "role:Place", "role:What"), max_length=20, stride=4), rows


def answer(_):
    contexts = [
        ("a great film in Paris", "Paris"),
        ("北京很好", "北京"),
        ("the plot is bad", None),
        (f"{'good film ' * 12}Paris", "Paris"),
    ]
    rows = [
        {"context": text, "question": "film in", "answers": ((name, text.index(name)),) if name else ()}
        for text, name in contexts
    ]
    return AnswerQuestion(max_length=16, stride=4), rows


def searched():
    """Rows of one query with two positives, of negatives or none, and of what another row seeks, too."""
    rows = [("film", ["a great film in Paris"], ["bad"]), ("plot", ["the plot is not bad", "影片很坏 plot"], [])]
    rows += [
        ("好", ["很好"], ["很坏", "awful plot"]),
        ("Paris", ["a great film in Paris"], []),
        ("北京", ["北京 Paris"], []),
    ]
    return [{"query": q, "positives": tuple(p), "negatives": tuple(n)} for q, p, n in rows]


def embed(_):
    return Embed(scored=False, matryoshka_dims=(4,)), searched()


def rank(_):
    return Rank(negatives=2), [row | {"negatives": row["negatives"] or ("bad film",)} for row in searched()]


def rank_pairs(_):
    return Rank(negatives=2, loss_of="pairs"), rank(_)[1]


def recommend(_):
    """The items are words of the tokenizer."""
    histories = [
        ("good", "bad", "film"),
        ("plot",),
        ("good", "nowhere"),
        ("film", "plot", "the", "a", "is"),
        ("很", "好"),
    ]
    return Recommend(max_length=4), [
        {"history": history, "item": item}
        for history, item in zip(histories, ("plot", "the", "bad", "not", "北"), strict=True)
    ]


def similar(_):
    pairs = zip(TEXTS, [*TEXTS[1:], TEXTS[0]], [5.0, 1.0, 0.0, 2.0, 2.0, 3.0, 4.0], strict=True)
    return Embed(scored=True, temperature=0.2), [{"text": a, "text_pair": b, "score": score} for a, b, score in pairs]


BUILDERS = {
    "masked": lambda tokenizer: (MaskedLM(mlm_probability=0.4), token_rows(tokenizer)),
    "masked_nsp": in_rows(MaskedNSP(mlm_probability=0.4)),
    "masked_sop": in_rows(MaskedSOP(mlm_probability=0.4, unit=Words())),
    "replaced": lambda tokenizer: (ReplacedTokens(mlm_probability=0.4), token_rows(tokenizer)),
    "simcse": lambda tokenizer: (SimCSE(), token_rows(tokenizer)),
    "causal": lambda tokenizer: (CausalLM(), token_rows(tokenizer)),
    "denoising": in_rows(Denoising()),
    "permutation": lambda tokenizer: (PermutationLM(plm_probability=0.5, max_span_length=2), token_rows(tokenizer)),
    "prefix": lambda tokenizer: (PrefixLM(), token_rows(tokenizer)),
    "span_corruption": lambda tokenizer: (SpanCorruption(noise_density=0.3), token_rows(tokenizer)),
    "chat": chat,
    "classify": classify,
    "classify pairs": pairs("plain"),
    "classify weighted": pairs("weighted"),
    "classify windows": windows,
    "multilabel": multilabel,
    "score": pairs("score"),
    "choose": choose,
    "tag": tag,
    "transform": transform,
    "intent": intent,
    "relate": relate("given"),
    "relate find": relate("find"),
    "event": event,
    "answer": answer,
    "embed": embed,
    "embed scored": similar,
    "rank": rank,
    "recommend": recommend,
    "rank pairs": rank_pairs,
}
WAYS = {"bitfit": BitFit(), **({"lora": Lora(), "ia3": IA3()} if find_spec("peft") else {})}
"""Ways of adapting, tried on some tasks by names such as `tag lora`."""
TASKS = [
    kind for kind in list(BUILDERS) if kind.partition(" ")[0] in ("classify", "multilabel", "score", "choose", "tag")
]


def electra(bert):
    return ElectraConfig(**{**bert.to_dict(), "embedding_size": 8})


ADAPTED = [f"{task} {way}" for task in ("classify", "tag") for way in WAYS]
ALSO = [f"{task} {way}" for task in ("multilabel", "score", "choose") for way in WAYS]


@pytest.fixture(params=[*BUILDERS, *ADAPTED, *(pytest.param(kind, marks=pytest.mark.slow) for kind in ALSO)])
def member(request, tokenizer, bert_config, gpt2_config):
    return member_of(request.param, tokenizer, bert_config, gpt2_config)


def member_of(kind, tokenizer, bert_config, gpt2_config):
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.add_special_tokens({"extra_special_tokens": [f"<extra_id_{i}>" for i in range(8)]})
    tokenizer.add_tokens([*"@#*"])
    size = len(tokenizer)
    bert_config.vocab_size = gpt2_config.vocab_size = size
    config = {
        "causal": gpt2_config,
        "chat": gpt2_config,
        "denoising": Bart(d_model=16, encoder_layers=2, num_attention_heads=2, ffn_dim=32).config(tokenizer),
        "permutation": XLNet(d_model=16, n_layer=2, n_head=2, d_inner=32).config(tokenizer),
        "prefix": gpt2_config,
        "recommend": gpt2_config,
        "replaced": electra(bert_config),
        "transform": PAIR.config(tokenizer),
        "span_corruption": T5(d_model=16, num_layers=2, num_heads=2, d_ff=32).config(tokenizer),
    }.get(kind, bert_config)
    way = WAYS.get(kind.rpartition(" ")[2], Full())
    objective, rows = BUILDERS[kind if kind in BUILDERS else kind.rpartition(" ")[0]](tokenizer)
    if getattr(objective, "outputs", ()):
        config.num_labels = len(objective.outputs)

    def build(dropout=0.0):
        torch.manual_seed(0)
        for name in vars(config):
            if name.endswith(("dropout", "dropout_prob", "dropout_rate", "_pdrop")):
                setattr(config, name, dropout)
        model = objective.auto_model.from_config(config)
        return model if way.kind == "full" else way(Opened(model, (), ()), seed=0).model

    return Member(objective, rows, build)


def test_every_member_of_the_unions_is_here():
    named = {type_.__dataclass_fields__["kind"].default for union in (AnyObjective, AnyTask)
             for type_ in get_args(get_args(union)[0])}  # fmt: skip
    assert named == {kind.partition(" ")[0] for kind in BUILDERS}


def run(member, tokenizer, model, config, tokens_per_batch, steps, state=None, size=4):
    source = member.source(tokenizer)
    plan = Plan(source.lengths, StepSize(size), seed=3)
    state = state or State(config.optimizer(model))
    symbols, ranks = Symbols.of(tokenizer), parallel.ranks()
    stream = batches(source, member.objective, symbols, plan, tokens_per_batch, start=state.step, ranks=ranks)
    return list(islice(train(model, member.objective, stream, config, steps, state), steps)), state


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_a_step_is_the_same_however_it_is_cut(member, tokenizer, dtype, tolerance):
    """Invariant 1: steps of 4, 4 and a last partial step, in one piece and in pieces of one row."""
    config = Train(learning_rate=0.05, optimizer=SGD(), precision="fp32", max_grad_norm=1e9, warmup_ratio=0)
    finals = []
    for tokens_per_batch in (10**6, 11, 1):
        model = in_precision(member.build(), dtype)
        packing.enable(model)
        steps, _ = run(member, tokenizer, model, config, tokens_per_batch, steps=3)
        finals.append((torch.cat([p.detach().flatten() for p in model.parameters()]), [s.loss for s in steps]))
    for weights, losses in finals[1:]:
        assert (weights - finals[0][0]).abs().max() <= tolerance
        assert losses == pytest.approx(finals[0][1], rel=1e-6, abs=1e-6)


def in_precision(model, dtype):
    """XLNet makes its positions in float32, whatever its weights are."""
    if isinstance(model, XLNetLMHeadModel):
        positions = model.transformer.relative_positional_encoding
        model.transformer.relative_positional_encoding = lambda *args, **named: positions(*args, **named).to(dtype)
    return model.to(dtype)


def test_a_mean_of_means_would_have_been_wrong(member, tokenizer):
    """The rows hold different numbers of items, so that the test of the cut can fail."""
    one_each = ("answer", "classify", "multilabel", "relate", "score", "choose", "rank")
    if isinstance(member.objective, Coupled) or member.objective.kind in one_each:
        pytest.skip("as many items in each row: both means agree")
    model, symbols = member.build().eval(), Symbols.of(tokenizer)
    source = member.source(tokenizer)
    with torch.no_grad():
        parts = [member.objective.loss(model, member.objective.collate([row], source.keys[i : i + 1], symbols))[0]
                 for i, row in enumerate(rows_of(source))]  # fmt: skip
    parts = [part for part in parts if part.items]
    mean_of_means = np.mean([float(part.total) / part.items for part in parts])
    assert abs(mean_of_means - sum(float(p.total) for p in parts) / sum(p.items for p in parts)) > 1e-5


def test_items_of_the_batch_are_the_items_of_the_loss(member, tokenizer):
    source = member.source(tokenizer)
    batch = member.objective.collate(rows_of(source), source.keys, Symbols.of(tokenizer))
    assert {part.name: part.items for part in member.objective.loss(member.build(), batch)} == dict(batch.items)


@pytest.mark.parametrize("packed", [True, False])
def test_a_rows_loss_does_not_depend_on_the_rows_beside_it(member, tokenizer, packed):
    """Invariant 2: the total over a batch is the sum of the totals of its rows, packed or padded."""
    if isinstance(member.objective, Coupled):
        pytest.skip("it depends on the rows of the step, and on nothing else: see invariant 1")
    model, symbols, source = (
        member.build().eval().requires_grad_(False),
        Symbols.of(tokenizer),
        member.source(tokenizer),
    )
    rows = rows_of(source)
    single = [member.objective.collate([row], source.keys[i : i + 1], symbols) for i, row in enumerate(rows)]
    alone = [[float(part.total) for part in member.objective.loss(model, batch)] for batch in single]
    if packed and packing.enable(model) is not None:
        pytest.skip(packing.why_padded(model.config))
    together = member.objective.loss(model, member.objective.collate(rows, source.keys, symbols))
    assert [float(part.total) for part in together] == pytest.approx(np.sum(alone, axis=0).tolist(), rel=1e-5)


@pytest.mark.parametrize("kill_after", [1, 3, 4])
def test_a_resumed_run_is_bit_equal_to_an_unbroken_one(member, tokenizer, tmp_path, kill_after):
    """Invariant 3, with dropout on, in the first epoch and after it, cut into micro-batches."""
    config = Train(learning_rate=0.01, optimizer=AdamW())
    unbroken = member.build(dropout=0.1)
    run(member, tokenizer, unbroken, config, 16, steps=6)

    broken = member.build(dropout=0.1)
    state = State(config.optimizer(broken))
    source = member.source(tokenizer)
    plan = Plan(source.lengths, StepSize(4), seed=3)
    stream = batches(source, member.objective, Symbols.of(tokenizer), plan, 16)
    list(islice(train(broken, member.objective, stream, config, 6, state), kill_after))
    save(tmp_path, state.step, saved_tensors(broken, state), {})
    torch.randn(100)  # something else disturbs the global generator

    again = member.build(dropout=0.1)
    state = State(config.optimizer(again))
    restore(again, newest(tmp_path), state)
    run(member, tokenizer, again, config, 16, steps=6, state=state)
    for (name, a), (_, b) in zip(unbroken.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_it_learns_a_handful_of_rows_by_heart(member, tokenizer):
    model = member.build()
    if not all(parameter.requires_grad for parameter in model.parameters()):
        pytest.skip("a random network has nothing worth keeping: what adapts in part of it learns little")
    packing.enable(model)
    config = Train(learning_rate=0.005 if member.objective.kind == "rank" else 0.02, precision="fp32")
    if member.objective.kind in ("masked", "replaced"):
        member.rows = [{"input_ids": [2, 5, 6, 7, 8, 3]}] * 4
    if isinstance(member.rows, TokenFile):
        _, member.rows = in_rows(member.objective)(tokenizer, ["good film. Paris plot.", "北京。很好。"] * 2)
    steps, _ = run(member, tokenizer, model, config, 10**6, steps=60)
    assert np.mean([s.loss for s in steps[-5:]]) < 0.6 * steps[0].loss


def test_the_loss_is_hugging_faces(member, tokenizer):
    """Parity at 1e-5 in float32: the same batch through the model's own loss."""
    without = ("answer", "event", "intent", "relate", "replaced", "simcse", "choose", "embed", "rank", "recommend")
    if member.objective.kind in without or getattr(member.objective, "class_weights", None):
        pytest.skip("transformers has no loss for it; a reference is in tests/objectives or tests/tasks")
    model, source = member.build().eval(), member.source(tokenizer)
    batch = member.objective.collate(rows_of(source), source.keys, Symbols.of(tokenizer))
    parts = member.objective.loss(model, batch)
    labels = {"labels": batch.targets["labels"]}
    if isinstance(member.objective, MaskedPairs):
        labels["next_sentence_label"] = batch.targets["classes"]
    if member.objective.kind in ("causal", "chat", "prefix"):  # theirs shifts by itself
        labels["labels"] = torch.nn.functional.pad(labels["labels"][:, :-1], (1, 0), value=IGNORE)
    theirs = model(**batch.inputs, **labels).loss
    torch.testing.assert_close(sum(part.total / part.items for part in parts), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
def test_a_prediction_does_not_depend_on_its_batch_mates(kind, tokenizer, bert_config):
    task, rows = BUILDERS[kind](tokenizer)
    bert_config.num_labels = len(task.outputs) or 2
    torch.manual_seed(0)
    predictor = TaskPredictor(
        task, tokenizer, torch_forward(task.auto_model.from_config(bert_config)), tokens_per_batch=16
    )
    together = predictor(rows)
    for row, answer in zip(rows, together, strict=True):
        (alone,) = predictor([row])
        assert_alike(alone.to_json(), answer.to_json())


def assert_alike(one, other):
    """Equal, but for the last digits of numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for inner, its_like in zip(one, other, strict=True):
            assert_alike(inner, its_like)
    else:
        assert one == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other)


@pytest.mark.parametrize("kind", TASKS)
def test_decoding_an_oracles_outputs_gives_back_the_gold(kind, tokenizer):
    task, rows = BUILDERS[kind](tokenizer)
    examples = Examples(rows, task.encode(rows, tokenizer), row_keys("rows", len(rows)))
    pieces = examples.source.rows
    targets = task.collate(pieces, np.zeros(len(pieces), np.uint64), Symbols.of(tokenizer)).targets
    decoded = iter(task.decode({"logits": oracle(task, targets)}, pieces, None))
    answers = [
        task.merge([next(decoded) for _ in row["windows"]], row) if "windows" in row else next(decoded)
        for row in examples.encoded
    ]
    for metric in task.metrics.values():
        assert metric([task.gold(row) for row in rows], answers) == pytest.approx(1.0)


def oracle(task, targets):
    """Logits of a model that knows."""
    labels = targets["labels"]
    if task.kind == "score":
        return labels[:, None]
    if task.kind == "multilabel":
        return labels * 100 - 50
    if task.kind == "choose":
        shares = [torch.nn.functional.one_hot(*pair) for pair in zip(labels, targets["counts"].tolist(), strict=True)]
        return torch.cat(shares)[:, None] * 50.0
    return torch.nn.functional.one_hot(labels.clamp_min(0), len(task.outputs)).float() * 50
