"""Texts that become others, and conversations whose turns are in order."""

import pytest

from lathe.core.data import CONVERSED, PROMPT, SOURCE, TRANSFORMED, Columns, RowError, find_columns, read_row


def read(shapes, row):
    return read_row(row, *find_columns(list(row), shapes, Columns()))


def turns(roles, content="x"):
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool", "f": "function_call"}
    return [{"role": names[role], "content": content} for role in roles]


def test_a_text_becomes_one_or_several():
    assert read(TRANSFORMED, {"document": "d", "summary": "s"})[0] == {"source": "d", "targets": ("s",)}
    row = {"document": "d", "summary": "s", "summaries": ["s", "t"]}
    assert read(TRANSFORMED, row)[0] == {"source": "d", "targets": ("s", "t")}
    assert read(SOURCE, {"article": "d", "id": 1})[0] == {"source": "d"}


def test_a_target_that_looks_like_json_is_a_text():
    assert read(TRANSFORMED, {"source": "d", "target": '["a"]'})[0]["targets"] == ('["a"]',)


@pytest.mark.parametrize("target, reason", [("", "empty"), ([], "the list is empty"), (["a", None], "missing")])
def test_a_text_that_becomes_nothing_is_refused(target, reason):
    with pytest.raises(RowError, match=reason) as error:
        read(TRANSFORMED, {"source": "d", "target": target})
    assert error.value.field == "target"


def test_conversations_of_sharegpt_and_alpaca_are_messages():
    sharegpt = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    row, notes = read(CONVERSED, {"conversations": sharegpt, "system": "be kind"})
    assert row["messages"] == (("system", "be kind"), ("user", "hi"), ("assistant", "hello"))
    assert "ShareGPT" in next(iter(notes))
    alpaca = {"instruction": "add", "input": "1+1", "output": "2", "history": [["a", "b"]]}
    row, notes = read(CONVERSED, alpaca)
    assert row["messages"] == (("user", "a"), ("assistant", "b"), ("user", "add\n\n1+1"), ("assistant", "2"))
    assert "Alpaca" in next(iter(notes))
    assert read(CONVERSED, {"instruction": "a", "input": "", "output": "b"})[0]["messages"][0] == ("user", "a")


@pytest.mark.parametrize("roles", ["ua", "sua", "uaua", "uftta", "ufta"])
def test_turns_alternate(roles):
    assert len(read(CONVERSED, {"messages": turns(roles)})[0]["messages"]) == len(roles)


@pytest.mark.parametrize(
    "messages, reason",
    [
        (turns("u"), "the assistant says nothing"),
        (turns("au"), "begins with a turn of the assistant"),
        (turns("uua"), "turn 2 is a turn of the user, after a turn of the user"),
        (turns("suaa"), "turn 4 is a turn of the assistant, after a turn of the assistant"),
        (turns("usa"), "a system message that is not the first"),
        (turns("s"), "holds no turns"),
        ([], "holds no turns"),
        (turns("ua", ""), "turn 1 is empty"),
        ([{"role": "narrator", "content": "x"}], "turn 1 has an unknown role"),
        ([{"role": "user"}], "turn 1 lacks role or content"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "the content of turn 1 is a list"),
        (["hi"], "turn 1 lacks role or content"),
        ("hi", "a string, not a list"),
    ],
)
def test_turns_out_of_order_are_refused(messages, reason):
    with pytest.raises(RowError, match=reason) as error:
        read(CONVERSED, {"messages": messages})
    assert error.value.field == "messages"


def test_a_last_turn_without_an_answer_is_left_off_and_counted():
    row, notes = read(CONVERSED, {"messages": turns("uau")})
    assert [message.role for message in row["messages"]] == ["user", "assistant"]
    row, notes = read(CONVERSED, {"messages": turns("suftt")})
    assert [message.role for message in row["messages"]] == ["system", "user", "assistant"]
    assert any("left off" in note for note in notes)


def test_a_prompt_ends_where_the_assistant_is_to_answer():
    assert len(read(PROMPT, {"messages": turns("uau")})[0]["messages"]) == 3
    assert read(PROMPT, {"text": "hi"})[0]["messages"] == (("user", "hi"),)
    assert read(PROMPT, {"instruction": "hi", "input": ""})[0]["messages"] == (("user", "hi"),)
    with pytest.raises(RowError, match="nothing to answer"):
        read(PROMPT, {"messages": turns("ua")})
