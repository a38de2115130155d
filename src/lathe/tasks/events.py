"""Events of a text: the word that says that something happens, of which type, and who and what take part in it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification

from lathe.core.data import EVENTED, TOKENS_OR_TEXT
from lathe.core.keyed import Seeds
from lathe.core.metrics import (
    argument_f1,
    argument_identification_f1,
    trigger_f1,
    trigger_identification_f1,
)
from lathe.core.predictions import Event, Events, Span, Spans
from lathe.core.recipe import recipe
from lathe.core.tagging import spans_of_tags, tags_of_spans
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Part, Row, Symbols, pieces_of, upcast
from lathe.tasks.bio import (
    Floats,
    disjoint,
    encode_windows,
    log_shares,
    read_tags,
    tag_labels,
    tags_of,
    word_scores,
)
from lathe.tasks.encoding import Tokens, tokenize
from lathe.tasks.labels import Labels
from lathe.tasks.marks import Marks, mark
from lathe.tasks.texts import padded

ROLE = "role:"
"""How the name of a role begins among the labels, so that it is no type's of event."""

Arguments: TypeAlias = Mapping[Span, Sequence[Span]]
"""Of each trigger, with its type, those who take part, with their roles."""


@recipe
class FindEvents:
    """Cross-entropy of two sequences of BIO tags, -sum log P(type | text) - sum log P(role | text, trigger).

    The triggers of a text are tagged first; then, for each of them, with marks and its type around it, its arguments.
    So what several events share has a role in each. Both have their outputs in one token-classification head of Hugging
    Face's, and are learnt together, the arguments with the triggers that the rows have.
    """

    auto_model: ClassVar = AutoModelForTokenClassification
    labelled: ClassVar = EVENTED
    unlabelled: ClassVar = TOKENS_OR_TEXT
    least_labels: ClassVar = 1

    kind: Literal["event"] = "event"
    labels: Labels | None = None
    """Names of the types of events, and of the roles with `role:` before them; those in the training data if not
    given."""
    max_events: int = Field(64, ge=1)
    """Most events of a text whose arguments are looked for, those of the surest triggers; others have none."""
    max_length: int | None = Field(None, ge=8)
    """Tokens of a window with its marks; in longer texts arguments are sought in one around the trigger of their event.
    As the model allows (at most 512) if not given."""
    stride: int = Field(64, ge=0)
    """Tokens that neighbouring windows share in which triggers are sought; at most half a window."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The first selects: that of arguments, which also needs the types, unless no event has any."""
        of_triggers: dict[str, Metric] = {
            "trigger_f1": trigger_f1,
            "trigger_identification_f1": trigger_identification_f1,
        }
        of_arguments = {"argument_f1": argument_f1, "argument_identification_f1": argument_identification_f1}
        return of_arguments | of_triggers if self.roles else of_triggers

    @property
    def triggers(self) -> tuple[str, ...]:
        """The tags of triggers."""
        return tags_of([label for label in self.labels or () if not label.startswith(ROLE)])

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(label.removeprefix(ROLE) for label in self.labels or () if label.startswith(ROLE))

    @property
    def arguments(self) -> tuple[str, ...]:
        """The tags of arguments; none where no event has any."""
        return tags_of(self.roles) if self.roles else ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each output of the head: the tags of triggers, then those of arguments."""
        return (*self.triggers, *(f"{ROLE}{tag}" for tag in self.arguments))

    def labels_in(self, row: Row) -> Iterator[str]:
        for event in row.get("events", ()):
            yield event.trigger.label
            yield from (ROLE + argument.label for argument in event.arguments)

    def group(self, row: Row) -> str:
        return str(row["text"])

    def gold(self, row: Row) -> Events:
        return Events(tuple(row["events"]))

    def log_prior(self, lessons: Sequence[Encoded]) -> list[float]:
        """How often a word of the texts has each tag: nearly all are outside, of events and of arguments."""
        return log_shares(lessons, len(self.triggers), len(self.arguments))

    # ------------------------------------------------------------------------------------------------ into the model
    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        named = {event.trigger.label for row in rows for event in row.get("events", ())}
        marks = Marks.of(tokenizer, named.union(tag[2:] for tag in self.triggers[1:]))
        tokens = tokenize([row["text"] for row in rows], tokenizer, None)
        return [self._encoded(row, found, marks) for row, found in zip(rows, tokens, strict=True)]

    def _encoded(self, row: Row, tokens: Tokens, marks: Marks) -> Encoded:
        """A text whose triggers are sought; it is learnt with the arguments of each."""
        arguments = _by_trigger(row["events"]) if "events" in row else None
        spans = {} if arguments is None else {"spans": tuple(arguments)}
        sought = encode_windows({**row, **spans}, tokens, self.triggers, self.max_length, self.stride)
        sought |= {"tokens": tokens, "marks": marks}
        if arguments is None:
            return sought
        asked = arguments if self.roles else {}
        taught = [self._asked(trigger, sought, told) for trigger, told in asked.items()]
        windows = [window for window in taught if window is not None]
        counts = {name: sum(window[name] for window in windows) for name in ("apart", "overlapping", "widened")}
        counts["apart"] += sum(1 + len(told) for told, window in zip(asked.values(), taught, strict=True) if not window)
        counts |= {name: counts[name] + sought[name] for name in ("overlapping", "widened")}
        return sought | {"lessons": [*pieces_of(sought), *windows]} | counts

    def _asked(self, trigger: Span, row: Encoded, arguments: Sequence[Span] | None) -> dict[str, Any] | None:
        """The window around a trigger; None where it does not fit into one."""
        marked = mark(row["tokens"], [trigger], row["marks"], self.max_length)
        if marked is None:
            return None
        inside = [number for number, piece in enumerate(row["pieces"]) if piece in marked.places]
        words = tuple(row["words"][number] for number in inside)
        pieces = [marked.places[row["pieces"][number]] for number in inside]
        window = {"input_ids": marked.input_ids, "pieces": pieces, "places": words}
        if arguments is None:
            return window | {"tags": None}
        whole = [one for one in arguments if words and words[0][0] <= one.start and one.end <= words[-1][1]]
        told = disjoint(whole)
        number = {name: len(self.triggers) + place for place, name in enumerate(self.arguments)}
        tags = tags_of_spans(told, words)
        lost = {"apart": len(arguments) - len(whole), "overlapping": len(whole) - len(told)}
        widened = len(set(told) - set(spans_of_tags(tags, words)))
        return window | {"tags": [number[tag] for tag in tags], "widened": widened} | lost

    def asked_again(self, answer: Spans, row: Encoded) -> Encoded:
        """The arguments of each trigger that was found."""
        surest = sorted(answer.spans, key=lambda span: -(span.score or 0.0))[: self.max_events] if self.roles else []
        asked = {trigger: self._asked(trigger, row, None) for trigger in answer.spans if trigger in surest}
        shown = {trigger: window for trigger, window in asked.items() if window is not None}
        return {"windows": [*shown.values()], "shown": [*shown], "found": answer.spans}

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        """Labels [B, T]: the tag of each word at its first piece, of triggers or of one event's arguments."""
        inputs = padded(rows, symbols)
        if any(row["tags"] is None for row in rows):
            return Batch(inputs, {}, {})
        labels = tag_labels(rows, inputs["input_ids"].shape[1])
        of_arguments = int((labels >= len(self.triggers)).sum())
        items = {"triggers": int((labels != IGNORE).sum()) - of_arguments}
        return Batch(inputs, {"labels": labels}, items | ({"arguments": of_arguments} if self.roles else {}))

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        logits, labels = upcast(model(**batch.inputs).logits), batch.targets["labels"]  # [B, T, C], [B, T]
        first = len(self.triggers)
        golds = {
            "triggers": (logits[..., :first], labels.where(labels < first, IGNORE)),
            "arguments": (logits[..., first:], (labels - first).where(labels >= first, IGNORE)),
        }
        parts = []
        for name, items in batch.items.items():
            scores, gold = golds[name]
            total = F.cross_entropy(scores.flatten(0, 1), gold.flatten(), ignore_index=IGNORE, reduction="sum")
            parts.append(Part(name, total, items))
        return parts

    # ---------------------------------------------------------------------------------------------- out of the model
    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Spans | Floats]:
        """The triggers of a text, or of a window their scores; the arguments of a trigger."""
        return [self._decoded(logits, row) for logits, row in zip(outputs["logits"], rows, strict=True)]

    def _decoded(self, logits: Tensor, row: Encoded) -> Spans | Floats:
        first = len(self.triggers)
        if "places" in row:
            scores = word_scores(logits[:, first:], row["pieces"])
            return read_tags(scores, {"words": row["places"], "as_tokens": False}, self.arguments)
        scores = word_scores(logits[:, :first], row["pieces"])
        return read_tags(scores, row, self.triggers) if "words" in row else scores

    def merge(self, answers: Sequence[Any], row: Encoded) -> Events | Spans:
        if "found" not in row:
            return read_tags(np.concatenate(answers), row, self.triggers)
        arguments = dict(zip(row["shown"], answers, strict=True))
        nobody = Spans(())
        return Events(tuple(Event(trigger, arguments.get(trigger, nobody).spans) for trigger in row["found"]))


def _by_trigger(events: Sequence[Event]) -> Arguments:
    """Events of one type with one trigger are one: all their arguments, each once."""
    found: defaultdict[Span, dict[Span, None]] = defaultdict(dict)
    for event in events:
        found[event.trigger] |= dict.fromkeys(event.arguments)
    return {trigger: tuple(arguments) for trigger, arguments in found.items()}
