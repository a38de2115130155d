"""Relations: directed, several in a row, marked where they stand, and found together with their entities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lathe.core.data import ENTITIES, RELATED, Columns, Table, load
from lathe.core.errors import DataError, RecipeError
from lathe.core.metrics import relation_f1
from lathe.core.predictions import Relation, Relations, Span, Spans
from lathe.core.predictor import TaskPredictor
from lathe.core.types import IGNORE, Symbols, lessons_of
from lathe.evaluate.result import as_sent, mistakes
from lathe.models.baselines import baseline
from lathe.runtimes.eager import torch_forward
from lathe.tasks import Relate
from lathe.tasks.encoding import tokenize
from lathe.tasks.marks import Marks, mark

GIVEN = Relate(labels=("in", "of"))
FIND = Relate(labels=("in", "of", "entity:ART", "entity:LOC"), entities="find")


@pytest.fixture
def tokenizer(tokenizer):
    tokenizer.add_tokens([*"@#*"])
    return tokenizer


def row(text, *relations, extra=()):
    """Relations are (head, name, tail), words of the text; films are ART, other entities LOC."""

    def span(word):
        return Span(text.index(word), text.index(word) + len(word), "ART" if word in ("film", "影片") else "LOC")

    told = tuple(Relation(span(head), span(tail), label) for head, label, tail in relations)
    ends = {span(word) for word in extra}.union(*((one.head, one.tail) for one in told))
    return {"text": text, "spans": tuple(sorted(ends, key=lambda one: (one.start, one.end))), "relations": told}


ROWS = [
    row("the film in Paris", ("film", "in", "Paris"), ("Paris", "of", "film")),
    row("北京影片很好", ("影片", "in", "北京"), ("北", "of", "影片")),
    row("good 影片 in Paris 𝒜\ud800 film", ("影片", "in", "Paris"), extra=("film",)),
    row("film"),
    row("great film", extra=("film",)),
    row("Paris 北京", extra=("Paris", "北京")),
    row("  film   good bad Paris " + "good bad " * 9, ("film", "in", "Paris")),
]


def words(tokenizer, marked):
    return " ".join(tokenizer.convert_ids_to_tokens(marked.input_ids)[1:-1])


def collated(task, pieces, tokenizer):
    return task.collate(pieces, np.zeros(len(pieces), np.uint64), Symbols.of(tokenizer))


def oracle(task, gold):
    """A model that knows the row: what it would have been taught of each piece, as logits."""
    by_ids = {}

    def learn(tokenizer):
        for encoded in task.encode([gold], tokenizer):
            for piece in lessons_of(encoded):
                by_ids[tuple(piece["input_ids"])] = collated(task, [piece], tokenizer).targets

    def forward(inputs):
        rows = []
        for ids, real in zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True):
            targets = by_ids[tuple(ids[real].tolist())]
            said = F.one_hot(targets["labels"][0].clamp_min(0), len(task.outputs)) * 50.0
            said[targets["labels"][0] == IGNORE] = torch.randn(len(task.outputs))
            rows.append(F.pad(said, (0, 0, 0, len(ids) - len(said))))
        return {"logits": torch.stack(rows)}

    return learn, forward


@pytest.mark.parametrize(
    "task", [GIVEN, FIND, replace(FIND, max_length=18, stride=4)], ids=["given", "find", "windows"]
)
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_an_oracles_relations_are_the_gold(task, number, tokenizer):
    gold = ROWS[number]
    if number == 1 and task.entities == "find":
        gold = row("北京影片很好", ("影片", "in", "北京"), ("北京", "of", "影片"))  # no nested entity
    learn, forward = oracle(task, gold)
    learn(tokenizer)
    (answer,) = TaskPredictor(task, tokenizer, forward)([as_sent(gold, task.unlabelled)])
    found = task.gold(gold)
    assert relation_f1([found], [answer]) == 1
    assert mistakes(found, answer) == ""
    if task.entities == "find":
        assert [(s.start, s.end, s.label) for s in answer.spans] == [(s.start, s.end, s.label) for s in found.spans]


def test_head_and_tail_are_marked_with_their_types(tokenizer):
    text = "the film in Paris"
    (tokens,) = tokenize([text], tokenizer, None)
    film, paris = Span(4, 8, "good"), Span(12, 17, "bad")
    marks = Marks.of(tokenizer, ["good", "bad"])
    there, back = (mark(tokens, ends, marks, None) for ends in ((film, paris), (paris, film)))
    assert words(tokenizer, there) == "the @ * good * film @ in # * bad * Paris #"
    assert words(tokenizer, back) == "the # * good * film # in @ * bad * Paris @"
    assert [back.input_ids[place] for place in back.ends] == tokenizer.convert_tokens_to_ids(["@", "#"])


def test_a_type_with_the_name_of_a_special_token_is_text(tokenizer):
    (tokens,) = tokenize(["film"], tokenizer, None)
    found = mark(tokens, [Span(0, 4, "[SEP]")], Marks.of(tokenizer, ["[SEP]"]), None)
    assert found.input_ids.count(tokenizer.sep_token_id) == 1


def test_an_entity_within_another_is_marked_within_it(tokenizer):
    (tokens,) = tokenize(["北京很好"], tokenizer, None)
    found = mark(tokens, (Span(0, 2, "a"), Span(1, 2, "the")), Marks.of(tokenizer, ["a", "the"]), None)
    pieces = tokenizer.convert_ids_to_tokens(found.input_ids)[1:-1]
    assert "".join(pieces) == "@*a*北#*the*京@#很好"
    assert {pieces[found.places[n] - 1] for n in (1, 4)} == {"北", "好"}


def test_a_pair_is_seen_in_the_middle_of_its_window_and_none_that_does_not_fit(tokenizer):
    text = "good " * 20 + "film in Paris" + " bad" * 20
    (tokens,) = tokenize([text], tokenizer, None)
    film, paris = Span(100, 104, "a"), Span(108, 113, "a")
    marks = Marks.of(tokenizer, ["a"])
    found = mark(tokens, (film, paris), marks, 22)
    pieces = tokenizer.convert_ids_to_tokens(found.input_ids)
    assert len(pieces) == 22
    assert (pieces.count("good"), pieces.count("bad")) == (4, 3)
    assert mark(tokens, (film, paris), marks, 15) is not None
    assert mark(tokens, (film, paris), marks, 14) is None
    assert mark(tokens, (film, Span(200, 200, "a")), marks, None) is None


def test_pairs_that_no_window_holds_are_counted_and_scored(tokenizer):
    task = replace(GIVEN, max_length=16)
    far = row("film " + "good " * 20 + "Paris", ("film", "in", "Paris"))
    (encoded,) = task.encode([far], tokenizer)
    assert (encoded["windows"], encoded["apart"]) == ([], 2)
    (answer,) = TaskPredictor(task, tokenizer, None)([as_sent(far, task.unlabelled)])
    assert answer == Relations(())
    assert relation_f1([task.gold(far)], [answer]) == 0


def test_overlapping_entities_are_counted_where_they_are_to_be_found_and_their_pairs_are_learnt(tokenizer):
    (encoded,) = FIND.encode([ROWS[1]], tokenizer)
    assert encoded["overlapping"] == 1
    assert len(encoded["lessons"]) == 1 + 3 * 2
    (given,) = GIVEN.encode([ROWS[1]], tokenizer)
    assert len(given["windows"]) == 6


def test_the_loss_is_that_of_a_linear_layer_over_both_states_side_by_side(tokenizer, bert_config):
    """Baldini Soares et al. (2019): W [h_head; h_tail], and nothing that stands beside it in the batch."""
    task = replace(GIVEN, max_length=32)
    bert_config.vocab_size, bert_config.num_labels = len(tokenizer), len(task.outputs)
    torch.manual_seed(0)
    model = task.auto_model.from_config(bert_config).eval()
    pieces = [piece for encoded in task.encode(ROWS, tokenizer) for piece in lessons_of(encoded)]
    expected = torch.tensor(0.0)
    (part,) = task.loss(model, collated(task, pieces, tokenizer))
    for piece in pieces:
        inputs = collated(task, [piece], tokenizer).inputs
        states = model.bert(**inputs).last_hidden_state[0]
        weight, bias = model.classifier.weight, model.classifier.bias
        both = torch.cat([states[piece["pieces"][0]], states[piece["pieces"][1]]])
        scores = both @ torch.cat([weight[:3], weight[3:]], 1).T + bias[:3] + bias[3:]
        expected += F.cross_entropy(scores, torch.tensor(piece["golds"][0]))
    torch.testing.assert_close(part.total, expected, rtol=1e-5, atol=1e-5)
    assert part.items == len(pieces) == 2 + 6 + 6 + 2 + 2


def test_the_pairs_of_the_surest_entities_alone_are_asked_about(tokenizer):
    """A model that has learnt little finds an entity in every word: the number of pairs must not explode."""
    (row_,) = replace(FIND, max_entities=2).encode([{"text": "film in Paris 北京"}], tokenizer)
    spans = (Span(0, 4, "ART", 0.9), Span(8, 13, "LOC", 0.4), Span(14, 16, "LOC", 0.5))
    again = replace(FIND, max_entities=2).asked_again(Spans(spans), row_)
    assert again["pairs"] == [(spans[0], spans[2]), (spans[2], spans[0])]
    assert again["spans"] == spans
    assert FIND.fitted({"train": table(ROWS[0], ROWS[2])}).max_entities == 3


def table(*rows):
    return Table(Path("rows.jsonl"), "", list(rows), list(range(1, len(rows) + 1)), [], {}, {}, {})


def test_two_relations_from_one_entity_to_another_are_both_learnt_and_told(tokenizer):
    both = row("film in Paris", ("film", "in", "Paris"), ("film", "of", "Paris"))
    task = GIVEN.fitted({"train": table(both, ROWS[0])})
    assert task.multi_label is True
    assert GIVEN.fitted({"train": table(ROWS[0])}).multi_label is False
    batch = collated(task, task.encode([both], tokenizer)[0]["windows"], tokenizer)
    assert batch.targets["is_of"].tolist() == [[False, True, True], [True, False, False]]
    assert batch.items == {"relate": 6}
    scores = [np.array([0.1, 0.9, 0.6], np.float32), np.array([0.8, 0.2, 0.4], np.float32)]
    answer = task.merge(scores, {"pairs": task.pairs(both)})
    assert relation_f1([task.gold(both)], [answer]) == 1
    with pytest.raises(DataError, match=r"rows.jsonl:2: two relations .*task.multi_label=true"):
        replace(GIVEN, multi_label=False).fitted({"train": table(ROWS[0], both)})


def test_rare_relations_weigh_more_where_they_are_balanced():
    task = replace(GIVEN, class_weights="balanced").fitted({"train": table(ROWS[0], ROWS[2])})
    assert task.class_weights == pytest.approx({"no_relation": 8 / 15, "in": 8 / 6, "of": 8 / 3})


def test_rows_without_two_entities_are_refused():
    with pytest.raises(DataError, match="no row has two entities"):
        GIVEN.fitted({"train": table(ROWS[3], ROWS[4])})


def test_a_label_that_says_that_there_is_none_is_never_an_answer(tokenizer):
    task = Relate(labels=("in",), no_relation="Other")
    told = row("film in Paris", ("film", "Other", "Paris"))
    told["pairs"] = ((told["spans"][0], told["spans"][1]),)
    assert task.gold(told).relations == ()
    assert [*task.labels_in(told)] == []
    (encoded,) = task.encode([told], tokenizer)
    assert [piece["golds"] for piece in encoded["windows"]] == [(0,)]
    assert task.outputs == ("head:Other", "head:in", "tail:Other", "tail:in")


def test_a_vocabulary_without_signs_is_refused():
    class Blind:
        unk_token_id = 1

        def __call__(self, text, **options):
            return {"input_ids": [1]}

    with pytest.raises(RecipeError, match="fewer than three of the signs"):
        Marks.of(Blind(), [])


def test_a_row_answers_the_same_alone_and_beside_others(tokenizer, bert_config):
    bert_config.vocab_size, bert_config.num_labels = len(tokenizer), len(FIND.outputs)
    torch.manual_seed(3)
    task = replace(FIND, max_length=20, stride=4, max_entities=2)
    predictor = TaskPredictor(task, tokenizer, torch_forward(task.auto_model.from_config(bert_config)), 64)
    texts = [one["text"] for one in ROWS] + ["good film " * 9]
    together = predictor(texts)
    assert any(one.spans for one in together)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = predictor([text])
        assert mistakes(alone, answer) == ""


@pytest.mark.parametrize("find", [False, True])
def test_the_baseline_learns_the_words_between(find):
    task = FIND if find else GIVEN
    rows = [row(f"{word}film in Paris", ("film", "in", "Paris")) for word in ("", "good ", "bad ")] * 3
    rows += [row("Paris is not film", ("Paris", "of", "film"))] * 6
    simple = baseline(task, rows)
    golds = [task.gold(one) for one in rows]
    assert relation_f1(golds, simple(rows)) > 0.9
    assert (simple([{"text": "Paris is not film"}])[0].spans is not None) if find else True


ANNOTATED = "T1\tART 4 8\tfilm\nT2\tLOC 12 17\tParis\nR1\tin Arg1:T1 Arg2:T2\n"


def test_a_folder_of_brats_is_learnt_from(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("the film in Paris", encoding="utf-8")
    (tmp_path / "a.ann").write_text(ANNOTATED, encoding="utf-8")
    (found,) = load(tmp_path, RELATED, Columns()).rows
    assert GIVEN.gold(found).relations == (Relation(Span(4, 8, "ART"), Span(12, 17, "LOC"), "in"),)
    assert sorted(piece["golds"] for piece in GIVEN.encode([found], tokenizer)[0]["windows"]) == [(0,), (1,)]


def test_rows_counted_in_tokens_are_sent_as_places_of_their_text(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"tokens": ["film", "in", "New", "Paris"], "h": [0, 1], "t": [2, 4], "relation": "in"}\n', "utf-8")
    (found,) = load(file, RELATED, Columns()).rows
    sent = as_sent(found, GIVEN.unlabelled)
    assert GIVEN.unlabelled is ENTITIES
    assert sent["text"][sent["tail"]["start"] : sent["tail"]["end"]] == "New Paris"
    assert sent.keys() == {"text", "head", "tail"}
    assert as_sent(found, FIND.unlabelled) == {"tokens": ("film", "in", "New", "Paris")}


def test_mistakes_name_both_ends():
    film, paris = Span(0, 4, "ART"), Span(8, 13, "LOC")
    gold, said = (Relations((Relation(*ends, "in"),)) for ends in ((film, paris), (paris, film)))
    assert mistakes(gold, said) == "missed in (ART 0-4, LOC 8-13), wrong in (LOC 8-13, ART 0-4)"
