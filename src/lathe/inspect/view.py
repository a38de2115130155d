"""Rows as a model sees them: the pieces that a task makes of each, with what is to be learnt at each place.

All is read off the tensors that training would get, so that what is shown is what is learnt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rich.cells import cell_len
from torch import Tensor

from lathe.core.keyed import Seeds
from lathe.core.types import IGNORE, Batch, Encoded, Symbols, lessons_of
from lathe.tasks import AnyTask
from lathe.tasks.contrast import PARTS, SCORED

WIDTH = 100  # columns of a terminal
SHOWN_PARTS = 3
NOTHING = "·"  # is to be learnt at a place

Json: TypeAlias = dict[str, Any]


def views(task: AnyTask, encoded: Sequence[Encoded], keys: Seeds, tokenizer: Any) -> list[Json]:
    """Of each row the parts it is learnt in (windows, targets, ...) as plain values, and how many tokens are cut off.

    A part has ``sequences`` (one, or one for each choice), of each its ``pieces`` and what stands at their
    ``places``, and ``targets``: what is to be learnt of the whole.
    """
    view, symbols = _View(task, tokenizer), Symbols.of(tokenizer)
    return [
        {
            "parts": [view.part(task.collate([piece], keys[place : place + 1], symbols)) for piece in lessons_of(row)],
            "truncated": row.get("truncated", 0),
        }
        for place, row in enumerate(encoded)
    ]


@dataclass(frozen=True)
class _View:
    task: AnyTask
    tokenizer: Any

    def part(self, batch: Batch) -> Json:
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]  # [1, T], or [choices, 1, T]
        length = ids.shape[-1]
        shown = {name: tensor for name, tensor in self._beside(batch) if tensor.shape == ids.shape}
        sequences = []
        for number, (row, real) in enumerate(zip(ids.view(-1, length), mask.view(-1, length).bool(), strict=True)):
            places = {name: self._at(name, tensor.view(-1, length)[number][real]) for name, tensor in shown.items()}
            if self._head == "AutoModelForQuestionAnswering" and "labels" in batch.targets:
                places["answer"] = _answer(batch.targets["labels"].flatten().tolist(), int(real.sum()))
            sequences.append({"pieces": self._pieces(row[real]), "places": places})
        if "marks" in batch.targets:
            return _compared(sequences, batch.targets["marks"][0])
        whole = {name: tensor for name, tensor in batch.targets.items() if name not in shown and not _is_mask(tensor)}
        if self._head == "AutoModelForSeq2SeqLM" and "labels" in batch.targets:
            whole["labels"] = batch.targets["labels"]
        return {"sequences": sequences, "targets": {name: self._of(name, tensor) for name, tensor in whole.items()}}

    @property
    def _head(self) -> str:
        """The head says what its labels mean."""
        return str(self.task.auto_model.__name__)

    def _beside(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """What may stand at each piece; the labels of an encoder-decoder are those of another sequence."""
        if "token_type_ids" in batch.inputs and batch.inputs["token_type_ids"].any():
            yield "token_type_ids", batch.inputs["token_type_ids"]
        for name, tensor in batch.targets.items():
            if not (_is_mask(tensor) or tensor.is_floating_point() or self._head == "AutoModelForSeq2SeqLM"):
                yield name, tensor

    def _at(self, name: str, values: Tensor) -> list[Any]:
        if name == "token_type_ids":
            return list(values.tolist())
        return [None if value == IGNORE else self._named(value) for value in values.tolist()]

    def _of(self, name: str, tensor: Tensor) -> Any:
        """What is to be learnt of a whole part: a name, names, a number, a text, or where an answer stands."""
        values = tensor.flatten().tolist()
        if self._head == "AutoModelForSeq2SeqLM" and name == "labels":
            return self._pieces(tensor[tensor != IGNORE])
        if tensor.is_floating_point() and len(values) == len(self.task.outputs) > 1:
            return [label for label, value in zip(self.task.outputs, values, strict=True) if value >= 0.5]
        found = [None if value == IGNORE else self._named(value, whole=True) for value in values]
        return found[0] if len(found) == 1 else found

    def _named(self, value: Any, whole: bool = False) -> Any:
        """An output of the head, or a token of a vocabulary; else the number."""
        outputs = self.task.outputs
        if isinstance(value, float):
            return round(value, 4)
        if outputs:
            return outputs[value] if 0 <= value < len(outputs) else value
        return value if whole else self._piece(value)

    def _pieces(self, ids: Tensor) -> list[str]:
        return [self._piece(token) for token in ids.flatten().tolist()]

    def _piece(self, token: int) -> str:
        """A token as a person reads it: bytes as the characters they are, where they are whole ones."""
        name = str(self.tokenizer.convert_ids_to_tokens(token))
        if type(self.tokenizer.backend_tokenizer.decoder).__name__ == "ByteLevel":
            text = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
            name = text.replace(" ", "▁") if text and "\ufffd" not in text else name
        return name if name.isprintable() else repr(name)[1:-1]


def _answer(ends: Sequence[int], length: int) -> list[str | None]:
    """The places of an answer between its first and its last one; none where nothing is learnt of it."""
    first, last = ends
    return ["answer" if IGNORE != first <= place <= last else None for place in range(length)]


def _compared(sequences: Sequence[Json], marks: Tensor) -> Json:
    """Texts with what each is in its row; marks [S, 3]."""
    parts = [PARTS[part] for part in marks[:, 0].tolist()]
    named = [{"is": part} | sequence for part, sequence in zip(parts, sequences, strict=False)]
    is_scored = parts[0] == PARTS[SCORED]
    return {"sequences": named, "targets": {"score": round(float(marks[0, 1]), 4)} if is_scored else {}}


def _is_mask(tensor: Tensor) -> bool:
    return str(tensor.dtype) == "torch.bool"


# ------------------------------------------------------------------------------------------------------ for a terminal
def drawn(view: Json, name: str) -> Iterator[str]:
    """The lines of a view: pieces with what stands at their places below them, parts one after the other."""
    parts = view["parts"]
    for number, part in enumerate(parts[:SHOWN_PARTS], 1):
        size = sum(len(sequence["pieces"]) for sequence in part["sequences"])
        which = f", part {number} of {len(parts)}" if len(parts) > 1 else ""
        learnt = "".join(f"; {target} = {_told(value)}" for target, value in part["targets"].items())
        yield f"{name}{which}: {size:,} tokens{learnt}"
        for sequence in part["sequences"]:
            yield from _aligned(sequence["pieces"], sequence["places"], sequence.get("is", ""))
    if len(parts) > SHOWN_PARTS:
        yield f"  ... and {len(parts) - SHOWN_PARTS:,} more parts"
    if view["truncated"]:
        yield f"  ... {view['truncated']:,} more tokens are cut off"


def _aligned(pieces: Sequence[str], places: Mapping[str, Sequence[Any]], name: str) -> Iterator[str]:
    """Columns as wide as their widest cell on a terminal, where a Chinese character takes two; broken at its edge."""
    rows = {name: list(pieces)} | {name: [_told(value) for value in values] for name, values in places.items()}
    widths = [max(map(cell_len, cells)) for cells in zip(*rows.values(), strict=True)]
    margin = max(map(len, rows))
    start = 0
    while start < len(pieces):
        stop, used = start + 1, widths[start]
        while stop < len(pieces) and margin + 3 + used + 1 + widths[stop] <= WIDTH:
            used += 1 + widths[stop]
            stop += 1
        for name, cells in rows.items():
            padded = [
                cell + " " * (width - cell_len(cell))
                for cell, width in zip(cells[start:stop], widths[start:stop], strict=True)
            ]
            yield f"  {name:>{margin}} {' '.join(padded)}".rstrip()
        start = stop


def _told(value: Any) -> str:
    if value is None:
        return NOTHING
    return " ".join(map(_told, value)) if isinstance(value, list) else str(value)
