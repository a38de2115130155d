"""Events: several in a text, arguments with a role in each, and what cannot be told is counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lathe.core.data import EVENTED, Columns, load
from lathe.core.metrics import argument_f1, trigger_f1
from lathe.core.predictions import Event, Events, Span, Spans
from lathe.core.predictor import TaskPredictor
from lathe.core.tagging import join_tokens
from lathe.core.types import IGNORE, Symbols, lessons_of
from lathe.evaluate.result import as_sent, mistakes
from lathe.models.baselines import baseline
from lathe.runtimes.eager import torch_forward
from lathe.tasks import FindEvents

TASK = FindEvents(labels=("Play", "Show", "role:Place", "role:What"))
SHORT = replace(TASK, max_length=14, stride=2)


@pytest.fixture
def tokenizer(tokenizer):
    tokenizer.add_tokens([*"@#*"])
    return tokenizer


def row(text, *events, tokens=None):
    """Events are (word, type, {role: word or words})."""

    def span(word, label):
        return Span(text.index(word), text.index(word) + len(word), label)

    def arguments(roles):
        return tuple(span(word, role) for role, words in roles.items() for word in words.split("|"))

    told = tuple(Event(span(word, kind), arguments(roles)) for word, kind, roles in events)
    return {"text": text, "events": told} | ({} if tokens is None else tokens)


def token_row(tokens, *events):
    text, offsets = join_tokens(tokens)
    return row(text, *events, tokens={"tokens": tokens, "offsets": offsets})


SHARED = ("great", "Show", {"Place": "Paris", "What": "film"}), ("bad", "Play", {"What": "Paris"})
ROWS = [
    row("great film in Paris is bad", *SHARED),
    row("北京影片很好", ("很好", "Show", {"Place": "北京", "What": "影片"}), ("影片", "Play", {})),
    token_row(["great", "film", "北", "京", "bad"], ("great", "Show", {"What": "film", "Place": "北京"})),
    row("good 𝒜\ud800 film", ("film", "Play", {"What": "good"})),
    row("film", ("film", "Play", {})),
    row("nothing in  it"),
    row("good film " * 8 + "Paris is great 北京", ("great", "Show", {"Place": "Paris|北京"})),
]


def collated(task, pieces, tokenizer):
    return task.collate(pieces, np.zeros(len(pieces), np.uint64), Symbols.of(tokenizer))


def oracle(task, gold, tokenizer):
    """A model that knows what it would have been taught of each piece of the row, as logits."""
    by_ids = {}
    for piece in lessons_of(task.encode([gold], tokenizer)[0]):
        by_ids[tuple(piece["input_ids"])] = collated(task, [piece], tokenizer).targets["labels"][0]

    def forward(inputs):
        rows = []
        for ids, real in zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True):
            labels = by_ids[tuple(ids[real].tolist())]
            said = F.one_hot(labels.clamp_min(0), len(task.outputs)) * 50.0
            said[labels == IGNORE] = torch.randn(len(task.outputs))
            rows.append(F.pad(said, (0, 0, 0, len(ids) - len(said))))
        return {"logits": torch.stack(rows)}

    return forward


@pytest.mark.parametrize("task", [TASK, SHORT], ids=["whole", "windows"])
@pytest.mark.parametrize("gold", ROWS, ids=lambda gold: ascii(gold["text"][:20]))
def test_an_oracles_events_are_the_gold(task, gold, tokenizer):
    (answer,) = TaskPredictor(task, tokenizer, oracle(task, gold, tokenizer))([as_sent(gold, task.unlabelled)])
    golds = [task.gold(gold)]
    assert trigger_f1(golds, [answer]) == argument_f1(golds, [answer]) == 1
    assert mistakes(golds[0], answer) == ""


def test_an_argument_has_a_role_in_each_event_that_shares_it(tokenizer):
    sought, first, second = lessons_of(TASK.encode(ROWS[:1], tokenizer)[0])
    assert "places" not in sought
    paris = ROWS[0]["text"].index("Paris")
    said = [
        [TASK.outputs[tag] for tag, (start, _) in zip(one["tags"], one["places"], strict=True) if start == paris]
        for one in (first, second)
    ]
    assert said == [["role:B-Place"], ["role:B-What"]]


def test_the_trigger_is_marked_with_its_type(tokenizer):
    task = FindEvents(labels=("good", "role:Place"))
    _, lesson = lessons_of(task.encode([row("the film in Paris", ("film", "good", {"Place": "Paris"}))], tokenizer)[0])
    pieces = tokenizer.convert_ids_to_tokens(lesson["input_ids"])
    assert " ".join(pieces[1:-1]) == "the @ * good * film @ in Paris"
    tagged = [(pieces[piece], task.outputs[tag]) for piece, tag in zip(lesson["pieces"], lesson["tags"], strict=True)]
    assert tagged == [("the", "role:O"), ("film", "role:O"), ("in", "role:O"), ("Paris", "role:B-Place")]


def test_each_tagger_has_items_of_its_own(tokenizer):
    batch = collated(TASK, lessons_of(TASK.encode(ROWS[:1], tokenizer)[0]), tokenizer)
    assert batch.items == {"triggers": 6, "arguments": 12}


def test_what_is_likely_before_a_word_is_read_is_how_often_each_tag_is_right(tokenizer):
    lessons = lessons_of(TASK.encode(ROWS[:1], tokenizer)[0])  # 6 words with 2 triggers, then twice 6 with arguments
    likely = dict(zip(TASK.outputs, np.exp(TASK.log_prior(lessons)), strict=True))
    assert sum(likely[tag] for tag in TASK.triggers) == pytest.approx(1)
    assert likely["O"] == pytest.approx((4 + 1) / (6 + 5))
    assert likely["I-Play"] == pytest.approx(1 / (6 + 5))
    assert likely["role:O"] == pytest.approx((9 + 1) / (12 + 5))
    assert likely["role:B-What"] == pytest.approx((2 + 1) / (12 + 5))


def test_arguments_out_of_reach_are_counted_not_learnt_and_scored(tokenizer):
    far = row("Paris " + "good " * 20 + "film", ("film", "Play", {"Place": "Paris", "What": "good"}))
    (encoded,) = replace(TASK, max_length=14).encode([far], tokenizer)
    assert encoded["apart"] == 2
    assert argument_f1([TASK.gold(far)], [Events((Event(far["events"][0].trigger, ()),))]) == 0


def test_what_overlaps_is_counted_and_events_with_one_trigger_and_type_are_one(tokenizer):
    film = Span(0, 4, "Play")
    twice = {
        "text": "film in Paris",
        "events": (
            Event(film, (Span(8, 13, "Place"),)),
            Event(film, (Span(8, 13, "What"),)),
            Event(Span(0, 4, "Show"), ()),
        ),
    }
    (encoded,) = TASK.encode([twice], tokenizer)
    assert encoded["overlapping"] == 2
    assert len(encoded["lessons"]) == 3


def test_triggers_without_any_roles_are_found_by_themselves(tokenizer):
    task = FindEvents(labels=("Play",))
    gold = row("the film", ("film", "Play", {}))
    assert [*task.metrics] == ["trigger_f1", "trigger_identification_f1"]
    assert task.outputs == ("O", "B-Play", "I-Play")
    (encoded,) = task.encode([gold], tokenizer)
    assert collated(task, lessons_of(encoded), tokenizer).items == {"triggers": 2}
    (answer,) = TaskPredictor(task, tokenizer, oracle(task, gold, tokenizer))(["the film"])
    assert mistakes(task.gold(gold), answer) == ""


def test_the_surest_triggers_are_asked_about_and_the_others_have_no_arguments(tokenizer):
    task = replace(TASK, max_events=1)
    (encoded,) = task.encode([{"text": "great film"}], tokenizer)
    found = (Span(0, 5, "Show", 0.4), Span(6, 10, "Play", 0.9))
    again = task.asked_again(Spans(found), encoded)
    assert again["shown"] == [found[1]]
    argument = Span(0, 5, "What", 0.7)
    answer = task.merge([Spans((argument,))], again)
    assert answer == Events((Event(found[0], ()), Event(found[1], (argument,))))


def test_a_row_answers_the_same_alone_and_beside_others(tokenizer, bert_config):
    bert_config.vocab_size, bert_config.num_labels = len(tokenizer), len(TASK.outputs)
    torch.manual_seed(1)
    predictor = TaskPredictor(SHORT, tokenizer, torch_forward(TASK.auto_model.from_config(bert_config)), 64)
    rows = [as_sent(one, TASK.unlabelled) for one in ROWS]
    together = predictor(rows)
    assert any(event.arguments for one in together for event in one.events)
    for one, answer in zip(rows, together, strict=True):
        (alone,) = predictor([one])
        assert mistakes(alone, answer) == ""


def test_the_baseline_is_a_lexicon_of_triggers_and_of_words_in_their_sentences():
    rows = [row("the film in Paris. Bad plot", ("film", "Play", {"Place": "Paris"}))] * 3 + [row("very bad")]
    simple = baseline(TASK, rows)
    assert argument_f1([TASK.gold(one) for one in rows], simple(rows)) == 1
    assert simple([{"text": "the film is bad. Paris"}])[0].events == (Event(Span(4, 8, "Play"), ()),)


ANNOTATED = "T1\tPlay 4 8\tfilm\nT2\tLOC 12 17\tParis\nE1\tPlay:T1 Place:T2\n"


def test_a_folder_of_brats_is_learnt_from(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("the film in Paris", encoding="utf-8")
    (tmp_path / "a.ann").write_text(ANNOTATED, encoding="utf-8")
    (found,) = load(tmp_path, EVENTED, Columns()).rows
    assert TASK.gold(found) == Events((Event(Span(4, 8, "Play"), (Span(12, 17, "Place"),)),))
    assert len(TASK.encode([found], tokenizer)[0]["lessons"]) == 2


def test_mistakes_name_triggers_and_arguments():
    gold = Events((Event(Span(0, 4, "Play"), (Span(8, 13, "Place"),)),))
    said = Events((Event(Span(0, 4, "Play"), (Span(8, 13, "What"),)), Event(Span(5, 7, "Show"), ())))
    assert mistakes(gold, said) == "missed Play.Place 8-13, wrong Show 5-7, wrong Play.What 8-13"
