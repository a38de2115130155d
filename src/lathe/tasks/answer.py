"""The stretch of a context that answers a question, or that there is none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForQuestionAnswering

from lathe.core.data import ANSWERED, QUESTION
from lathe.core.keyed import Seeds
from lathe.core.metrics import answer_f1, exact_match
from lathe.core.predictions import Answer
from lathe.core.recipe import recipe
from lathe.core.tagging import Offsets
from lathe.core.types import IGNORE, Batch, Encoded, Metric, Pair, Part, Row, Symbols, upcast
from lathe.tasks.encoding import Tokens, tokenize
from lathe.tasks.long_texts import Window, windows_of
from lathe.tasks.texts import padded

NONE = Answer("", None, None, 1.0, 1.0)


class Found(NamedTuple):
    """What one window has to offer."""

    null: float  # score of no answer: start and end at the token that stands for it
    spans: Mapping[tuple[int, int], float]  # the best stretches of the context -> their scores


class Question(NamedTuple):
    """A question, and how much of it did not fit."""

    input_ids: list[int]
    truncated: int


class Framing(NamedTuple):
    """What stands around question and context."""

    special: Pair
    cls: int | None  # the token for a whole text
    is_typed: bool  # whether the model tells question and context apart


@recipe
class AnswerQuestion:
    """Cross-entropy of an answer's first and last token, -(log P(start) + log P(end)) / 2, in every window.

    The choice is among the tokens of the context and the one that stands for no answer ([CLS]); question and padding
    have no part in it. A context that is longer than a window is learnt and answered in several: where a window does
    not hold the whole answer, no answer is right. The answer is the span with the highest sum of logits in any window.
    """

    auto_model: ClassVar = AutoModelForQuestionAnswering
    labelled: ClassVar = ANSWERED
    unlabelled: ClassVar = QUESTION
    metrics: ClassVar[Mapping[str, Metric]] = {"answer_f1": answer_f1, "exact_match": exact_match}
    least_labels: ClassVar = 0
    labels: ClassVar = None

    kind: Literal["answer"] = "answer"
    max_length: int | None = Field(None, ge=8)
    """Tokens of a window with its question; longer contexts are read in several. As the model allows (at most 512) if
    not given."""
    stride: int = Field(128, ge=0)
    """Tokens that neighbouring windows of a context share; at most half of a window's context."""
    max_answer_length: int = Field(50, ge=1)
    """Longest answer in tokens."""
    n_best_size: int = Field(20, ge=1)
    """Spans that share the probability with no answer."""
    top_k: int = Field(1, ge=1)
    """Spans that are told for each row."""
    null_score_diff_threshold: float | None = None
    """No answer is given where its score is above that of the best span by more than this. Chosen on the validation
    rows, if some have no answer; where none is without, there is always an answer."""

    @property
    def outputs(self) -> tuple[str, ...]:
        return "start", "end"

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return ()

    def group(self, row: Row) -> str:
        return str(row["context"])

    def gold(self, row: Row) -> tuple[str, ...]:
        """All texts that are right; none where there is no answer."""
        return tuple(text for text, _ in row["answers"])

    # ------------------------------------------------------------------------------------------------ into the model
    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        texts = list(dict.fromkeys(row["context"] for row in rows))  # several questions go to one context
        contexts = dict(zip(texts, tokenize(texts, tokenizer, None), strict=True))
        questions = tokenize([row["question"] for row in rows], tokenizer, None)
        special = Pair.of(tokenizer) or Pair((), _present(tokenizer.eos_token_id), ())
        framing = Framing(special, tokenizer.cls_token_id, "token_type_ids" in tokenizer.model_input_names)
        encoded = []
        for row, question in zip(rows, questions, strict=True):
            asked = self._question(question, sum(map(len, special)))
            encoded.append(self._encoded(row, asked, contexts[row["context"]], framing))
        return encoded

    def _question(self, tokens: Tokens, special: int) -> Question:
        """At most half of a window."""
        ids = tokens.input_ids[tokens.before : len(tokens.input_ids) - tokens.after]
        most = len(ids) if self.max_length is None else (self.max_length - special) // 2
        return Question(ids[:most], max(0, len(ids) - most))

    def _encoded(self, row: Row, question: Question, context: Tokens, framing: Framing) -> Encoded:
        inside = slice(context.before, len(context.input_ids) - context.after)
        ids, offsets = context.input_ids[inside], tuple(context.offsets[inside])
        special = framing.special
        before = [*special.before, *question.input_ids, *special.between]
        room = len(ids) if self.max_length is None else self.max_length - len(before) - len(special.after)
        cuts = windows_of(len(ids), room, self.stride)
        gold = _gold_pieces(row, offsets)
        windows = [
            _framed(before, ids[cut.start : cut.stop], framing)
            | {"offsets": offsets[cut.start : cut.stop], "context": row["context"]}
            for cut in cuts
        ]
        for cut, window in zip(cuts, windows, strict=True):
            window["span"] = _span(row, gold, cut, cuts, window)
        counts = {"truncated": question.truncated} | self._misfits(row, offsets, gold, cuts)
        return {"windows": windows} | counts if len(windows) > 1 else {**windows[0], "whole": True} | counts

    def _misfits(
        self, row: Row, offsets: Offsets, gold: tuple[int, int] | None, cuts: Sequence[Window]
    ) -> dict[str, int]:
        """Whether the answer can be given at all, and whether it is more than what was asked for."""
        if not row.get("answers"):
            return {}
        if gold is None:
            return {"unreachable": 1}
        text, start = row["answers"][0]
        fits = any(_holds(cut, gold) for cut in cuts) and gold[1] - gold[0] < self.max_answer_length
        is_exact = _stretch(row["context"], offsets, *gold) == (start, start + len(text))
        return {"unreachable": int(not fits), "widened": int(not is_exact)}

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        inputs = padded(rows, symbols)  # [B, T]
        spans = [row["span"] for row in rows]
        if any(span is None for span in spans):
            return Batch(inputs, {}, {self.kind: 0})
        may_answer = torch.zeros(inputs["input_ids"].shape, dtype=torch.bool)  # [B, T]
        for number, row in enumerate(rows):
            may_answer[number, [row["null"], *range(row["first"], row["first"] + len(row["offsets"]))]] = True
        labels = torch.tensor(spans)  # [B, 2]
        targets = {"labels": labels, "may_answer": may_answer}
        return Batch(inputs, targets, {self.kind: int((labels[:, 0] != IGNORE).sum())})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        found = model(**batch.inputs)
        labels, may_answer = batch.targets["labels"], batch.targets["may_answer"]
        ends = torch.stack([found.start_logits, found.end_logits], 1)  # [B, 2, T]
        scores = upcast(ends).masked_fill(~may_answer[:, None], -math.inf)
        total = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum")
        return [Part(self.kind, total / 2, batch.items[self.kind])]

    # ---------------------------------------------------------------------------------------------- out of the model
    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Answer | Found]:
        """The answer to each row; for a window what it has to offer."""
        starts, ends = (outputs[name].float().numpy() for name in ("start_logits", "end_logits"))  # [B, T]
        found = [self._found(row, start, end) for row, start, end in zip(rows, starts, ends, strict=True)]
        return [
            self._best([one], row["context"]) if "whole" in row else one for one, row in zip(found, rows, strict=True)
        ]

    def merge(self, answers: Sequence[Found], row: Encoded) -> Answer:
        return self._best(answers, row["windows"][0]["context"])

    def _found(self, row: Encoded, start: Any, end: Any) -> Found:
        """The ``n_best_size`` highest sums of a start's and an end's logit, of all pairs that are legal."""
        null = float(start[row["null"]]) + float(end[row["null"]])
        count = len(row["offsets"])
        width = min(self.max_answer_length, count)
        if count == 0:
            return Found(null, {})
        inside = slice(row["first"], row["first"] + count)
        later = np.concatenate([end[inside].astype(np.float64), np.full(width - 1, -np.inf)])
        sums = (start[inside, None] + sliding_window_view(later, width)).ravel()  # [starts * lengths]
        most = min(self.n_best_size, int(np.isfinite(sums).sum()))
        best = np.argpartition(-sums, most - 1)[:most].tolist() if most else []
        spans: dict[tuple[int, int], float] = {}
        for place in sorted(best, key=lambda place: (-sums[place], place)):
            first, more = divmod(place, width)
            stretch = _stretch(row["context"], row["offsets"], first, first + more)
            if stretch[0] < stretch[1]:
                spans.setdefault(stretch, float(sums[place]))
        return Found(null, spans)

    def _best(self, found: Sequence[Found], context: str) -> Answer:
        """The best of all windows. The least sure of them that there is no answer speaks for no answer."""
        null = min(one.null for one in found)
        spans: dict[tuple[int, int], float] = {}
        for place, score in (item for one in found for item in one.spans.items()):
            spans[place] = max(score, spans.get(place, -math.inf))
        if not spans:
            return NONE
        best = sorted(spans.items(), key=lambda item: (-item[1], item[0]))[: self.n_best_size]
        total = float(np.logaddexp.reduce([null, *(score for _, score in best)]))
        none = math.exp(null - total)
        first, *others = [
            Answer(context[start:end], start, end, math.exp(score - total), none)
            for (start, end), score in best[: self.top_k]
        ]
        (answer,) = self.decided([replace(first, others=tuple(others))])
        return answer

    # ----------------------------------------------------------------------------------------------------- threshold
    def tuned(self, golds: Sequence[Sequence[str]], predictions: Sequence[Answer]) -> Self:
        """The task with the threshold that scores best on these rows, whose predictions were made without one."""
        if self.null_score_diff_threshold is not None or all(golds):
            return self
        metric = next(iter(self.metrics.values()))
        margins = np.array([_margin(one) for one in predictions])
        gains = np.array(
            [metric([gold], [NONE]) - metric([gold], [one]) for gold, one in zip(golds, predictions, strict=True)]
        )
        order = np.argsort(-margins, kind="stable")
        margins = margins[order]
        edges = np.concatenate([[margins[0] + 1], (margins[:-1] + margins[1:]) / 2, [margins[-1] - 1]])
        gained = np.concatenate([[0.0], gains[order].cumsum()])  # by giving no answer to so many rows
        gained[1:-1][margins[:-1] == margins[1:]] = -np.inf  # no threshold parts them
        return replace(self, null_score_diff_threshold=float(edges[gained.argmax()]))

    def decided(self, predictions: Sequence[Answer]) -> list[Answer]:
        """The predictions with no answer in the place of those that are below the threshold."""
        limit = math.inf if self.null_score_diff_threshold is None else self.null_score_diff_threshold
        return [
            one
            if one.start is None or _margin(one) <= limit
            else replace(NONE, score=one.no_answer, no_answer=one.no_answer, others=self._told(one))
            for one in predictions
        ]

    def _told(self, answer: Answer) -> tuple[Answer, ...]:
        """The spans that are told behind no answer."""
        return (replace(answer, others=()), *answer.others)[: self.top_k - 1]


def _present(token: int | None) -> tuple[int, ...]:
    return () if token is None else (token,)


def _framed(before: list[int], context: list[int], framing: Framing) -> dict[str, Any]:
    """A window with its question, where its context begins, and the token that stands for no answer.

    That is the one for a whole text, wherever it stands, or, where there is none, the last: it has read all others.
    """
    ids, cls = [*before, *context, *framing.special.after], framing.cls
    window = {"input_ids": ids, "first": len(before), "null": ids.index(cls) if cls in ids else len(ids) - 1}
    types = [0] * len(before) + [1] * (len(ids) - len(before))
    return window | ({"token_type_ids": types} if framing.is_typed else {})


def _gold_pieces(row: Row, offsets: Offsets) -> tuple[int, int] | None:
    """First and last piece of the first answer; None where there is none, or no piece of it is left."""
    if not row.get("answers"):
        return None
    text, start = row["answers"][0]
    inside = [i for i, (s, e) in enumerate(offsets) if s < e and start < e and s < start + len(text)]
    return (inside[0], inside[-1]) if inside else None


def _holds(cut: Window, gold: tuple[int, int]) -> bool:
    return cut.start <= gold[0] and gold[1] < cut.stop


def _span(
    row: Row, gold: tuple[int, int] | None, cut: Window, cuts: Sequence[Window], window: Encoded
) -> tuple[int, int] | None:
    """Where a window's answer begins and ends among its tokens; None where the row has no gold.

    A window that holds no part of the answer, or one that another window holds whole, has none. Nothing is learnt from
    a part of an answer that fits into no window.
    """
    if "answers" not in row:
        return None
    none, unknown = (window["null"], window["null"]), (IGNORE, IGNORE)
    if gold is None:
        return unknown if row["answers"] else none
    if _holds(cut, gold):
        place: int = window["first"] - cut.start
        return place + gold[0], place + gold[1]
    is_part = gold[0] < cut.stop and cut.start <= gold[1]
    return unknown if is_part and not any(_holds(other, gold) for other in cuts) else none


def _stretch(context: str, offsets: Offsets, first: int, last: int) -> tuple[int, int]:
    """What some pieces cover, without the white space around it, which some tokenizers count to a word."""
    start, end = offsets[first][0], offsets[last][1]
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


def _margin(answer: Answer) -> float:
    """log P(no answer) - log P(best span)."""
    least = 1e-300
    return math.log(max(answer.no_answer, least)) - math.log(max(answer.score, least))
