"""One text becomes another: translation, summarization, correction, or a question and its answer in free words."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM

from lathe.core.boundaries import sentence_starts
from lathe.core.data import SOURCE, TRANSFORMED
from lathe.core.keyed import Seeds
from lathe.core.predictions import Text
from lathe.core.recipe import recipe
from lathe.core.rows import frame_of
from lathe.core.types import Batch, Encoded, Metric, Part, Row, Symbols, pieces_of
from lathe.generation.options import Beam, Generation
from lathe.objectives.sequences import sequence_batch, sequence_loss
from lathe.tasks.encoding import Tokens, tokenize
from lathe.tasks.texts import padded
from lathe.tasks.written import joined, metrics_from, texts_of


@recipe
class Transform:
    """-sum log P(target_s | target_<s, source) over the tokens of the target, with Hugging Face's seq2seq head.

    A row with several targets is learnt with each of them, and answered once. An answer is written by the options in
    ``generation``, whatever rows are answered beside it.
    """

    auto_model: ClassVar = AutoModelForSeq2SeqLM
    labelled: ClassVar = TRANSFORMED
    unlabelled: ClassVar = SOURCE
    least_labels: ClassVar = 0
    labels: ClassVar[None] = None
    outputs: ClassVar[tuple[str, ...]] = ()

    kind: Literal["transform"] = "transform"
    metric: Literal["bleu", "chrf", "rouge_l"] = "bleu"
    """What selects the best model: BLEU (words of mteval's 13a, of Chinese its characters), chrF, or ROUGE-L."""
    max_length: int | None = Field(None, ge=3)
    """Longest source in tokens. As the model allows (at most 512) if not given."""
    max_target_length: int | None = Field(None, ge=2)
    """Longest target in tokens; what is cut off is counted and said. As `max_length` if not given."""
    long_source: Literal["cut", "windows"] = "cut"
    """A source that is longer is cut, which is counted, or answered sentences by sentences, the answers joined; for
    training it is cut in any case, since nothing says which part of the target belongs to which sentences."""
    source_prefix: str = ""
    """Put before each source: what T5 is told, such as "summarize: "."""
    label_smoothing_factor: float = Field(0.0, ge=0, lt=1)
    """Share of each label that goes to all tokens alike, in training (Szegedy et al., 2016)."""
    generation: Generation = Generation(decoding=Beam(num_beams=4), batch_size=32)
    """How answers are written."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return metrics_from(self.metric, ("chrf", "rouge_l"))

    def labels_in(self, row: Row) -> tuple[str, ...]:
        return ()

    def group(self, row: Row) -> str:
        return str(row["source"])

    def gold(self, row: Row) -> tuple[str, ...]:
        return tuple(row["targets"])

    def ends(self, tokenizer: Any) -> tuple[int, ...]:
        """The token behind each target, also where the model's configuration does not name it."""
        end = Symbols.of(tokenizer).end
        return () if end is None else (end,)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
        sources = self._sources([row["source"] for row in rows], tokenizer)
        counts = [len(row.get("targets", ())) for row in rows]
        targets = iter(self._targets([target for row in rows for target in row.get("targets", ())], tokenizer))
        return [source | self._lessons(source, [next(targets) for _ in range(count)])
                for source, count in zip(sources, counts, strict=True)]  # fmt: skip

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        if all("labels" in row for row in rows):
            sources, targets = ([row[name] for row in rows] for name in ("input_ids", "labels"))
            return sequence_batch(sources, targets, symbols, self.kind)
        return Batch(padded(rows, symbols), {}, {self.kind: 0})

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        """Validation is by the plain likelihood: labels are smoothed in training alone."""
        smoothing = self.label_smoothing_factor if model.training else 0.0
        return [sequence_loss(model, batch, self.kind, smoothing)]

    def decode(self, outputs: Mapping[str, Tensor], rows: Sequence[Encoded], tokenizer: Any) -> list[Text]:
        return texts_of(outputs, tokenizer, self.generation)

    def merge(self, answers: Sequence[Text], row: Encoded) -> Text:
        return Text(joined([answer.text for answer in answers]))

    def _sources(self, sources: Sequence[str], tokenizer: Any) -> list[dict[str, Any]]:
        texts = [self.source_prefix + source for source in sources]
        whole = tokenize(texts, tokenizer, self.max_length)
        found = [{"input_ids": one.input_ids, "truncated": one.truncated} for one in whole]
        if self.long_source == "windows":
            for index in [index for index, one in enumerate(whole) if one.truncated]:
                found[index]["windows"] = self._windows(sources[index], tokenizer)
        return found

    def _windows(self, source: str, tokenizer: Any) -> list[Encoded]:
        """As few runs of whole sentences as fit; a sentence that is too long by itself is cut into several."""
        (one,) = tokenize([source], tokenizer, None)
        places = [offset for offset in one.offsets if offset[1] > offset[0]]
        frame = len(tokenize([self.source_prefix], tokenizer, None)[0].input_ids)  # prefix and special tokens
        room = max((self.max_length or len(places)) - frame, 1)
        texts = [self.source_prefix + source[a:b] for a, b in runs(sentence_starts(source), places, room)]
        windows = tokenize(texts, tokenizer, self.max_length)  # a stretch by itself may have a token more than before
        return [{"input_ids": window.input_ids, "truncated": window.truncated} for window in windows]

    def _targets(self, targets: Sequence[str], tokenizer: Any) -> list[Tokens]:
        """Each with the token that ends a text, also where the tokenizer puts none."""
        if not targets:
            return []
        end, longest, frame = Symbols.of(tokenizer).end, self.max_target_length or self.max_length, frame_of(tokenizer)
        puts_none = bool(frame.end) or not frame.after
        found = tokenize(targets, tokenizer, longest - 1 if longest and puts_none else longest)
        for one in found:
            if puts_none and end is not None and not one.truncated:  # a text that is cut does not end there
                one.input_ids.append(end)
        return found

    def _lessons(self, source: Encoded, targets: Sequence[Tokens]) -> dict[str, Any]:
        """A row for each target: what the model learns, beside what it is asked."""
        if not targets:
            return {"truncated": sum(piece["truncated"] for piece in pieces_of(source))}
        lessons = [
            {"input_ids": source["input_ids"], "labels": target.input_ids,
             "length": len(source["input_ids"]) + len(target.input_ids)}
            for target in targets
        ]  # fmt: skip
        return {"lessons": lessons, "truncated": source["truncated"] + sum(target.truncated for target in targets)}


def runs(starts: Sequence[int], places: Sequence[tuple[int, int]], room: int) -> list[tuple[int, int]]:
    """Stretches of a text of at most ``room`` pieces, which stand at ``places``; they end with sentences if they can.

    >>> runs([0, 4, 8], [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)], 4)
    [(0, 8), (8, 10)]
    """
    found, begin = [], 0
    begins = {next((i for i, place in enumerate(places) if place[1] > start), len(places)) for start in starts}
    while begin < len(places):
        stop = min(begin + room, len(places))
        if stop < len(places):
            stop = max((at for at in begins if begin < at <= stop), default=stop)
        found.append((places[begin][0], places[stop - 1][1]))
        begin = stop
    return found
