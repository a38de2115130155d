"""Rows that are answered by a label, labels, a number or a choice."""

from collections.abc import Mapping
from typing import Any

from lathe.core.data.records import RowError
from lathe.core.data.shapes.columns import Reading, Role, Shape, Values
from lathe.core.data.shapes.values import (
    checked_label,
    checked_list,
    checked_number,
    checked_text,
    of_json,
    type_of,
)

SPLIT_LABELS = "lists of labels are written with |"
NO_CONSENSUS = "-"  # the label of SNLI, MNLI and OCNLI where the annotators did not agree


# ---------------------------------------------------------------------------------------------------------- one text
def read_text(values: Values) -> Reading:
    return Reading({"text": checked_text(values["text"])})


def read_labelled_text(values: Values) -> Reading:
    """``{text, label}``; numbers and truth values become names, since a label is a name."""
    label, notes = checked_label(values["label"])
    return read_text(values).with_(label=label).noting(*notes)


def read_multi_labelled_text(values: Values) -> Reading:
    """``{text, labels}``: a list, which may be empty; in a table JSON, or names with | between them."""
    labels, notes = _labels(values["labels"])
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise RowError("labels", values["labels"], f"the label {twice!r} stands twice", "keep one of them")
    return read_text(values).with_(labels=labels).noting(*notes)


def _labels(given: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    value = of_json(given)
    fix = 'write a list like ["sport", "politics"], [] where there is none; in a table also sport|politics'
    if isinstance(value, str):
        value, notes = _split_labels(value, fix), ((SPLIT_LABELS,) if "|" in value else ())
    elif isinstance(value, list | tuple):
        notes = ()
    else:
        raise RowError("labels", given, f"the labels are {type_of(value)}, not a list", fix)
    read = [checked_label(label, "labels") for label in value]
    return tuple(label for label, _ in read), (*notes, *dict.fromkeys(note for _, more in read for note in more))


def _split_labels(text: str, fix: str) -> list[str]:
    """A comma may be a part of a name; a | is not."""
    if "|" not in text and (mark := next((mark for mark in ",;，；、\t" if mark in text), None)):
        raise RowError("labels", text, f"one string with {mark!r} in it: several labels, or one?", fix)
    return [label.strip() for label in text.split("|")] if text.strip() else []


# --------------------------------------------------------------------------------------------------------- two texts
def read_pair(values: Values) -> Reading:
    return read_text(values).with_(text_pair=checked_text(values["text_pair"], "text_pair"))


def read_labelled_pair(values: Values) -> Reading:
    """``{text, text_pair, label}``; pairs on which the annotators did not agree have none."""
    label, notes = checked_label(values["label"])
    if label == NO_CONSENSUS:
        raise RowError("label", label, "the annotators did not agree on a label", "delete the row")
    return read_pair(values).with_(label=label).noting(*notes)


def read_text_or_pair(values: Values) -> Reading:
    return read_pair(values) if "text_pair" in values else read_text(values)


def read_scored(values: Values) -> Reading:
    """``{text, score}`` or ``{text, text_pair, score}``."""
    return read_text_or_pair(values).with_(score=checked_number(values["score"], "score"))


# ----------------------------------------------------------------------------------------------------------- choices
def read_choices(values: Values) -> Reading:
    """``{text, choices}``, and ``question`` where it stands beside the text."""
    choices, _ = _choices(values["choices"])
    row: dict[str, Any] = {"text": checked_text(values["text"])}
    if values.get("question") is not None:
        row["question"] = checked_text(values["question"], "question")
    return Reading(row | {"choices": choices})


def read_answered_choices(values: Values) -> Reading:
    """The same with ``label``, the index of the right one: given as such, as its letter, or as its text."""
    choices, names = _choices(values["choices"])
    return read_choices(values).with_(label=_right(values["label"], choices, names))


def _choices(given: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The texts of the choices, and the letters that they go by: given beside them, else A, B, C and so on."""
    fix = 'write a list of two texts or more, like ["yes", "no"]'
    value = of_json(given)
    names: list[Any] = []
    if isinstance(value, Mapping) and isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
        names, value = value["label"], value["text"]  # ARC and CommonsenseQA of Hugging Face
    texts = [one.get("text") if isinstance(one, Mapping) else one for one in checked_list(value, "choices", fix)]
    if not names and isinstance(value[0] if value else None, Mapping):
        names = [one.get("label") for one in value if isinstance(one, Mapping)]
    if len(texts) < 2:
        raise RowError("choices", given, f"{len(texts)} choices: there is nothing to choose", fix)
    letters = [name if isinstance(name, str) else chr(ord("A") + place) for place, name in enumerate(names)]
    names = letters if len(set(letters)) == len(texts) else [chr(ord("A") + place) for place in range(len(texts))]
    return tuple(checked_text(text, "choices") for text in texts), tuple(names)


def _right(label: Any, choices: tuple[str, ...], names: tuple[str, ...]) -> int:
    fix = f"write the index of the right choice, 0 to {len(choices) - 1}, or its text"
    if label is None or label == "":
        raise RowError("label", label, "the right choice is missing", fix)
    if isinstance(label, int) and not isinstance(label, bool):
        if not 0 <= label < len(choices):
            raise RowError("label", label, f"there is no choice {label}: the {len(choices)} count from 0", fix)
        return label
    if not isinstance(label, str):
        raise RowError("label", label, f"the right choice is {type_of(label)}", fix)
    meant = {place for place, choice in enumerate(choices) if choice == label}
    meant |= {place for place, name in enumerate(names) if name == label.strip()}
    if label.strip().isdecimal() and label.strip() not in names and int(label) < len(choices):
        meant.add(int(label))
    if not meant:
        raise RowError("label", label, "none of the choices", fix)
    if len(meant) > 1:
        which = " and ".join(str(place) for place in sorted(meant))
        raise RowError("label", label, f"may mean the choices {which}", "write the index of the right one as a number")
    return meant.pop()


# ------------------------------------------------------------------------------------------------------------- roles
TEXT_ROLE = Role(
    "text",
    ("text", "sentence", "content", "review", "document", "utterance", "query", "comment", "message", "body", "sms",
     "tweet", "文本", "内容", "句子", "评论", "正文", "语句", "短信", "question", "title", "标题"),
    by_elimination=True,
)  # fmt: skip
LABEL_ROLE = Role(
    "label",
    ("label", "labels", "category", "class", "target", "intent", "sentiment", "topic", "标签", "类别", "分类", "标注",
     "情感", "意图"),
    by_elimination=True,
)  # fmt: skip
_LABELS = Role(
    "labels",
    ("labels", "label", "categories", "classes", "topics", "tags", "genres", "emotions", "标签", "类别", "分类"),
    by_elimination=True,
)
_FIRST = Role(
    "text",
    ("text", "text_a", "sentence1", "premise", "question1", "text1", "sentence_a", "s1", "sent1", "#1 string", "query",
     "question", "前提", "句子1", "文本1", "问题1"),
)  # fmt: skip
_SECOND = Role(
    "text_pair",
    ("text_pair", "text_b", "sentence2", "hypothesis", "question2", "text2", "sentence_b", "s2", "sent2", "#2 string",
     "passage", "context", "document", "sentence", "answer", "假设", "句子2", "文本2", "问题2"),
)  # fmt: skip
_PAIR_LABEL = Role(
    "label",
    ("label", "gold_label", "labels", "is_duplicate", "quality", "relation", "class", "category", "entailment",
     "answer", "标签", "类别", "关系"),
    by_elimination=True,
)  # fmt: skip
_SCORED_TEXT = Role("text", (*_FIRST.aliases[:10], *TEXT_ROLE.aliases[1:]), by_elimination=True)
_SCORED_PAIR = Role("text_pair", _SECOND.aliases[:10], is_optional=True)
_SCORE = Role(
    "score",
    ("score", "similarity", "similarity_score", "relatedness_score", "rating", "stars", "grade", "value", "label",
     "labels", "target", "分数", "评分", "相似度"),
    by_elimination=True,
)  # fmt: skip
_ASKED = Role(
    "text",
    ("text", "context", "passage", "article", "premise", "paragraph", "ctx", "document", "content", "sentence",
     "question", "query", "文本", "文章", "问题"),
)  # fmt: skip
_QUESTION = Role("question", ("question", "query", "问题"), is_optional=True)
_CHOICES = Role("choices", ("choices", "options", "endings", "candidates", "选项", "候选"))
_RIGHT = Role(
    "label",
    ("label", "answer", "answerkey", "answer_key", "answer_index", "answer_idx", "correct", "gold", "labels", "target",
     "答案"),
    by_elimination=True,
)  # fmt: skip

TEXT = (Shape((TEXT_ROLE,), read_text),)
"""Unlabelled texts: rows ``{text}``."""

LABELLED = (Shape((TEXT_ROLE, LABEL_ROLE), read_labelled_text),)
"""Texts with one label each: rows ``{text, label}``."""

MULTI_LABELLED = (Shape((TEXT_ROLE, _LABELS), read_multi_labelled_text),)
"""Texts with any number of labels: rows ``{text, labels}``."""

PAIR = (Shape((_FIRST, _SECOND), read_pair),)
"""Two texts: rows ``{text, text_pair}``."""

PAIRED = (Shape((_FIRST, _SECOND, _PAIR_LABEL), read_labelled_pair),)
"""Two texts and what the second is to the first: rows ``{text, text_pair, label}``."""

TEXT_OR_PAIR = (Shape((_SCORED_TEXT, _SCORED_PAIR), read_text_or_pair),)
"""One text or two to give a number to: rows ``{text}`` or ``{text, text_pair}``."""

SCORED = (Shape((_SCORED_TEXT, _SCORED_PAIR, _SCORE), read_scored),)
"""One text or two with a number: rows ``{text, score}`` or ``{text, text_pair, score}``."""

SCORED_PAIR = (Shape((_FIRST, _SECOND, _SCORE._replace(by_elimination=False)), read_scored),)
"""Two texts with a number: rows ``{text, text_pair, score}``."""

CHOOSABLE = (Shape((_ASKED, _QUESTION, _CHOICES), read_choices),)
"""A text, or a question, with several endings or answers: rows ``{text, choices}`` and maybe ``question``."""

CHOICES = (Shape((_ASKED, _QUESTION, _CHOICES, _RIGHT), read_answered_choices),)
"""The same with the index of the right one: rows ``{text, choices, label}`` and maybe ``question``."""
