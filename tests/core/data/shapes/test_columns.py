"""Columns are found by name, by elimination, or as the user says."""

from dataclasses import fields

import pytest

import lathe.core.data.shapes as shapes
from lathe.core.data import (
    ANSWERED,
    CHOICES,
    CONVERSED,
    INTENT_SLOTS,
    INTERACTED,
    LABELLED,
    MULTI_LABELLED,
    PAIRED,
    RELATED,
    RETRIEVED,
    SCORED,
    TAGGED,
    TOKENS_OR_TEXT,
    TRANSFORMED,
    Columns,
    Shape,
    find_columns,
)
from lathe.core.errors import DataError


@pytest.mark.parametrize(
    "names, found",
    [
        (["text", "label"], ["text", "label"]),
        (["Label", "Sentence", "id"], ["Sentence", "Label"]),
        (["文本", "标签"], ["文本", "标签"]),
        (["id", "review", "label_fine", "label"], ["review", "label"]),
        (["id", "blurb", "category"], ["blurb", "category"]),
        (["text", "polarity"], ["text", "polarity"]),
    ],
)
def test_text_and_label_are_found_by_name_or_by_elimination(names, found):
    assert list(find_columns(names, LABELLED, Columns())[1].values()) == found


def test_tokens_are_preferred_to_text_where_a_task_reads_both():
    assert find_columns(["text", "tokens", "tags", "intent"], TAGGED, Columns())[1] == {
        "tokens": "tokens",
        "tags": "tags",
    }
    assert find_columns(["text", "entities"], TAGGED, Columns())[1] == {"text": "text", "spans": "entities"}
    assert find_columns(["tokens"], TOKENS_OR_TEXT, Columns())[1] == {"tokens": "tokens"}


def test_a_column_that_the_user_names_decides_the_shape():
    found = find_columns(["text", "tokens", "tags", "spans"], TAGGED, Columns(text="text"))[1]
    assert found == {"text": "text", "spans": "spans"}


@pytest.mark.parametrize(
    "names, columns, message",
    [
        (["a", "b"], Columns(), "no column for text and label; the columns are 'a', 'b'; set data.columns.text=NAME"),
        (["review", "label"], Columns(text="reviews"), "no column 'reviews'; did you mean 'review'"),
        (["text", "label"], Columns(tags="label"), "data.columns names tags; what is read here has text[+]label"),
    ],
)
def test_columns_that_cannot_be_found_are_named_with_the_way_out(names, columns, message):
    with pytest.raises(DataError, match=message):
        find_columns(names, LABELLED, columns)


def test_every_role_of_every_shape_can_be_named_by_the_user():
    known = {field.name for field in fields(Columns)}
    every = [shape for value in vars(shapes).values() if isinstance(value, tuple) for shape in value]
    roles = {role.name for shape in every if isinstance(shape, Shape) for role in shape.roles}
    assert len(every) > 30
    assert roles == known


USUAL = {  # columns of data sets as they are published -> the columns of the roles
    "MNLI": (PAIRED, "index sentence1_parse sentence1 sentence2 label1 gold_label", "sentence1 sentence2 gold_label"),
    "MRPC": (PAIRED, "Quality,#1 ID,#2 ID,#1 String,#2 String", "#1 String,#2 String,Quality"),
    "QQP": (PAIRED, "id qid1 qid2 question1 question2 is_duplicate", "question1 question2 is_duplicate"),
    "QNLI": (PAIRED, "index question sentence label", "question sentence label"),
    "RTE": (PAIRED, "premise hypothesis label idx", "premise hypothesis label"),
    "BoolQ": (PAIRED, "question passage idx label", "question passage label"),
    "BoolQ of Hugging Face": (PAIRED, "question answer passage", "question passage answer"),
    "WikiQA": (PAIRED, "question answer label", "question answer label"),
    "OCNLI": (PAIRED, "level sentence1 sentence2 label genre id", "sentence1 sentence2 label"),
    "STS-B": (SCORED, "index genre year sentence1 sentence2 score", "sentence1 sentence2 score"),
    "STS-B of Hugging Face": (SCORED, "sentence1 sentence2 label idx", "sentence1 sentence2 label"),
    "reviews": (SCORED, "id review stars", "review stars"),
    "GoEmotions": (MULTI_LABELLED, "text labels id", "text labels"),
    "ARC": (CHOICES, "id question choices answerKey", "question choices answerKey"),
    "RACE": (CHOICES, "example_id article answer question options", "article question options answer"),
    "HellaSwag": (CHOICES, "ind activity_label ctx_a ctx_b ctx endings label", "ctx endings label"),
    "SQuAD": (ANSWERED, "id title context question answers", "context question answers id"),
    "CNN/DailyMail": (TRANSFORMED, "article highlights id", "article highlights"),
    "XSum": (TRANSFORMED, "document summary id", "document summary"),
    "SAMSum": (TRANSFORMED, "id dialogue summary", "dialogue summary"),
    "GSM8K": (TRANSFORMED, "question answer", "question answer"),
    "Alpaca": (CONVERSED, "instruction input output", "instruction input output"),
    "ShareGPT": (CONVERSED, "id conversations", "conversations"),
    "triplets": (RETRIEVED, "anchor positive negative", "anchor positive negative"),
    "FlagEmbedding": (RETRIEVED, "query pos neg", "query pos neg"),
    "Tevatron": (RETRIEVED, "query_id query positive_passages", "query positive_passages"),
    "FewRel": (RELATED, "tokens head tail relation relation_id", "tokens head tail relation"),
    "doccano": (RELATED, "id text entities relations", "text entities relations"),
    "ATIS": (INTENT_SLOTS, "tokens tags intent text", "tokens tags intent"),
    "MovieLens": (INTERACTED, "user_id item_id rating timestamp", "user_id item_id timestamp rating"),
}  # fmt: skip


@pytest.mark.parametrize("shapes_, names, found", USUAL.values(), ids=USUAL)
def test_columns_of_published_data_are_found(shapes_, names, found):
    mark = "," if "," in names else " "
    assert list(find_columns(names.split(mark), shapes_, Columns())[1].values()) == found.split(mark)
