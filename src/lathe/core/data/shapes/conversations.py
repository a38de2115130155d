"""Rows whose answer is written: a text becomes another, an assistant answers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lathe.core.data.records import RowError
from lathe.core.data.shapes.columns import Reading, Role, Shape, Values
from lathe.core.data.shapes.texts import TEXT_ROLE
from lathe.core.data.shapes.values import checked_list, checked_text, texts_of, type_of

SHAREGPT, ALPACA = "conversations of ShareGPT are read as messages", "instructions of Alpaca are read as messages"
OPEN_END = "conversations that end with a turn of the user, which is left off: there is no answer to it"
FUNCTION_CALLS = "conversations with calls of functions: a call is read as a turn of the assistant"
_FIX = 'write [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
_ROLES = {
    **{name: "system" for name in ("system", "developer")},
    **{name: "user" for name in ("user", "human", "prompter")},
    **{name: "assistant" for name in ("assistant", "gpt", "chatgpt", "bot", "bing", "bard", "model", "function_call")},
    **{name: "tool" for name in ("tool", "observation", "function", "function_response", "ipython")},
}
_ASKED = {"user", "tool"}  # these speak to the assistant


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str  # system, user, assistant or tool
    content: str


# -------------------------------------------------------------------------------------------------------- one to one
def read_source(values: Values) -> Reading:
    return Reading({"source": checked_text(values["source"], "source")})


def read_transformed(values: Values) -> Reading:
    """``{source, targets}``: one text that it is to become, or several that are equally right."""
    return read_source(values).with_(targets=texts_of(values["target"], "target", "write one text, or a list of texts"))


# ----------------------------------------------------------------------------------------------------- conversations
def read_conversation(values: Values) -> Reading:
    """``{messages}``: turns that alternate and end with the assistant's."""
    reading = _conversation(values)
    messages = reading.row["messages"]
    if messages[-1].role not in _ASKED:
        return reading
    if not any(message.role == "assistant" for message in messages):
        raise RowError(
            "messages", values["messages"], "the assistant says nothing", "write its answer or delete the row"
        )
    *whole, _ = messages
    while whole[-1].role in _ASKED:
        whole.pop()
    return reading.with_(messages=tuple(whole)).noting(OPEN_END)


def read_open_conversation(values: Values) -> Reading:
    """The same, ending where the assistant is to answer."""
    reading = _conversation(values)
    if reading.row["messages"][-1].role not in _ASKED:
        way = "delete the last turn, or the row"
        raise RowError("messages", values["messages"], "ends with a turn of the assistant: nothing to answer", way)
    return reading


def read_instruction(values: Values) -> Reading:
    """``{messages}`` of an instruction, what it is about and the answer, as Alpaca has them."""
    answer = Message("assistant", checked_text(values["output"], "output"))
    reading = read_open_instruction(values)
    return reading.with_(messages=(*reading.row["messages"], answer))


def read_open_instruction(values: Values) -> Reading:
    turns = [checked_text(values["instruction"], "instruction")]
    if (about := values.get("input")) not in (None, ""):
        turns.append(checked_text(about, "input"))
    before: list[Message] = []
    for pair in checked_list(values.get("history") or [], "history", 'write [["question", "answer"]]'):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise RowError("history", pair, "no question and answer", 'write [["question", "answer"]]')
        before += [Message(*turn) for turn in zip(("user", "assistant"), map(checked_text, pair), strict=True)]
    messages = (*_system(values), *before, Message("user", "\n\n".join(turns)))
    return Reading({"messages": messages}, {ALPACA: 1})


def read_prompt(values: Values) -> Reading:
    """A text is one turn of the user's."""
    return Reading({"messages": (Message("user", checked_text(values["text"])),)})


def _conversation(values: Values) -> Reading:
    turns = checked_list(values["messages"], "messages", _FIX)
    messages = (*_system(values), *(_message(turn, place) for place, turn in enumerate(turns, 1)))
    _check_order(messages, values["messages"])
    names = [_role_of(turn) for turn in turns]
    is_sharegpt = any(isinstance(turn, Mapping) and "from" in turn for turn in turns)
    called = FUNCTION_CALLS if "function_call" in names else None
    return Reading({"messages": messages}).noting(SHAREGPT if is_sharegpt else None, called)


def _system(values: Values) -> Sequence[Message]:
    given = values.get("system")
    return () if given in (None, "") else (Message("system", checked_text(given, "system")),)


def _role_of(turn: Any) -> Any:
    return turn.get("role", turn.get("from")) if isinstance(turn, Mapping) else None


def _message(turn: Any, place: int) -> Message:
    content = turn.get("content", turn.get("value")) if isinstance(turn, Mapping) else None
    role = _role_of(turn)
    if not isinstance(role, str) or content is None:
        raise RowError("messages", turn, f"turn {place} lacks role or content", _FIX)
    if role.lower() not in _ROLES:
        raise RowError("messages", role, f"turn {place} has an unknown role", "write system, user, assistant or tool")
    if not isinstance(content, str):
        raise RowError("messages", turn, f"the content of turn {place} is {type_of(content)}", "write one string")
    if not content.strip() or "\0" in content:
        what = "holds a NUL" if "\0" in content else "is empty"
        raise RowError("messages", content, f"turn {place} {what}", "write what was said, or delete the row")
    return Message(_ROLES[role.lower()], content)


def _check_order(messages: Sequence[Message], given: Any) -> None:
    """A system message may come first; then those who ask and the assistant take turns, several tools in a row."""
    roles = [message.role for message in messages]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    way = "mend the order, or delete the row"
    if "system" in spoken:
        raise RowError("messages", given, "a system message that is not the first", way)
    if not spoken or spoken[0] != "user":
        begins = f"begins with {_of(spoken[0])}" if spoken else "holds no turns"
        raise RowError("messages", given, f"the conversation {begins}, not the user's turn", way)
    for place, (before, role) in enumerate(zip(spoken, spoken[1:], strict=False), 2 + len(roles) - len(spoken)):
        if (before in _ASKED) == (role in _ASKED) and not before == role == "tool":
            reason = f"turn {place} is {_of(role)}, after {_of(before)}"
            raise RowError("messages", given, reason, "join the two, or write the turn between them")


def _of(role: str) -> str:
    return f"a turn of the {role}"


# ------------------------------------------------------------------------------------------------------------- roles
_SOURCE = Role(
    "source",
    ("source", "src", "input_text", "document", "article", "dialogue", "input", "text", "question", "content", "原文",
     "正文"),
)  # fmt: skip
_TARGET = Role(
    "target",
    ("targets", "references", "summaries", "target", "tgt", "target_text", "summary", "highlights", "output", "answer",
     "label", "labels", "title", "译文", "摘要", "标题"),
    by_elimination=True,
)  # fmt: skip
_MESSAGES = Role("messages", ("messages", "conversations", "conversation", "turns", "dialog", "对话"))
_SYSTEM = Role("system", ("system", "system_prompt"), is_optional=True)
_INSTRUCTION = Role("instruction", ("instruction", "prompt", "指令"))
_INPUT = Role("input", ("input", "输入"), is_optional=True)
_OUTPUT = Role("output", ("output", "response", "completion", "answer", "输出"))
_HISTORY = Role("history", ("history",), is_optional=True)
_OF_INSTRUCTION = (_SYSTEM, _HISTORY, _INSTRUCTION, _INPUT)

SOURCE = (Shape((_SOURCE._replace(by_elimination=True),), read_source),)
"""Texts to transform: rows ``{source}``."""

TRANSFORMED = (Shape((_SOURCE, _TARGET), read_transformed),)
"""Texts and what they are to become: rows ``{source, targets}``."""

CONVERSED = (
    Shape((_SYSTEM, _MESSAGES), read_conversation),
    Shape((*_OF_INSTRUCTION, _OUTPUT), read_instruction),
)
"""Conversations with an assistant, who has the last word: rows ``{messages}``."""

PROMPT = (
    Shape((_SYSTEM, _MESSAGES), read_open_conversation),
    Shape(_OF_INSTRUCTION, read_open_instruction),
    Shape((TEXT_ROLE,), read_prompt),
)
"""Conversations in which the assistant is to answer: rows ``{messages}``."""
