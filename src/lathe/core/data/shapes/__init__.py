"""What a task wants of a row: which columns, under which names they usually go, and what a good row holds."""

from lathe.core.data.shapes.columns import Columns, Reading, Role, Shape, Values, find_columns
from lathe.core.data.shapes.conversations import CONVERSED, PROMPT, SOURCE, TRANSFORMED, Message
from lathe.core.data.shapes.passages import (
    ANSWERED,
    CANDIDATES,
    COLLECTION,
    HISTORY,
    INTERACTED,
    QUERY,
    QUESTION,
    RETRIEVED,
    TOOK,
    Place,
)
from lathe.core.data.shapes.relations import ENTITIES, EVENTED, RELATED
from lathe.core.data.shapes.spans import INTENT_SLOTS, TAGGED, TOKENS_OR_TEXT
from lathe.core.data.shapes.texts import (
    CHOICES,
    CHOOSABLE,
    LABELLED,
    MULTI_LABELLED,
    PAIR,
    PAIRED,
    SCORED,
    SCORED_PAIR,
    TEXT,
    TEXT_OR_PAIR,
)
from lathe.core.data.shapes.values import checked_text, checked_tokens

__all__ = [
    "ANSWERED",
    "CANDIDATES",
    "CHOICES",
    "CHOOSABLE",
    "COLLECTION",
    "CONVERSED",
    "ENTITIES",
    "EVENTED",
    "HISTORY",
    "INTENT_SLOTS",
    "INTERACTED",
    "LABELLED",
    "MULTI_LABELLED",
    "PAIR",
    "PAIRED",
    "PROMPT",
    "QUERY",
    "QUESTION",
    "RELATED",
    "RETRIEVED",
    "SCORED",
    "SCORED_PAIR",
    "SOURCE",
    "TAGGED",
    "TEXT",
    "TEXT_OR_PAIR",
    "TOKENS_OR_TEXT",
    "TOOK",
    "TRANSFORMED",
    "Columns",
    "Message",
    "Place",
    "Reading",
    "Role",
    "Shape",
    "Values",
    "checked_text",
    "checked_tokens",
    "find_columns",
]
