"""Several tasks as one objective: the rows of a step are of one task, whose loss and head they go to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from lathe.core.batches import Counts, EncodedRows
from lathe.core.heads import Heads
from lathe.core.keyed import Seeds
from lathe.core.types import Batch, Encoded, Objective, Part, Symbols


@dataclass(frozen=True)
class Owned:
    """The rows of one task, each with the name of the task."""

    owner: str
    own: EncodedRows
    lengths: Counts

    @property
    def keys(self) -> Seeds:
        return self.own.keys

    def __len__(self) -> int:
        return len(self.own)

    def __getitem__(self, index: int) -> Encoded:
        return {"owner": self.owner, "row": self.own[index]}


@dataclass(frozen=True, slots=True)
class Turn(Batch):
    """A batch of one task; its items are named ``task/part``."""

    owner: str


@dataclass(frozen=True)
class Several:
    """The loss of a step is that of its own task, over the items of this task alone."""

    tasks: Mapping[str, Objective]
    symbols: Mapping[str, Symbols]  # of the tokenizer of each

    def collate(self, rows: Sequence[Encoded], seeds: "np.ndarray[Any, np.dtype[np.uint64]]", _: Symbols) -> Turn:
        owner = rows[0]["owner"]
        batch = self.tasks[owner].collate([row["row"] for row in rows], seeds, self.symbols[owner])
        return Turn(batch.inputs, batch.targets, {f"{owner}/{part}": n for part, n in batch.items.items()}, owner)

    def loss(self, model: nn.Module, batch: Batch) -> list[Part]:
        """``model`` are `Heads`, one for each task in their order; ``batch`` is a `Turn`."""
        assert isinstance(model, Heads) and isinstance(batch, Turn), (
            "what `collate` has made goes through several heads"
        )
        owner, network = batch.owner, model.networks[[*self.tasks].index(batch.owner)]
        items = {part.removeprefix(f"{owner}/"): n for part, n in batch.items.items()}
        parts = self.tasks[owner].loss(network, Batch(batch.inputs, batch.targets, items))
        return [part._replace(name=f"{owner}/{part.name}") for part in parts]


def lines_of(owner: str, log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the log of a run says of one task, as if there were no other."""
    mine = []
    for line in log:
        parts = line.get("items", {}) if line["event"] == "step" else line if line["event"] == "evaluation" else {}
        own = {name.removeprefix(f"{owner}/"): value for name, value in parts.items() if name.startswith(f"{owner}/")}
        if own:
            about = {"items": own} if line["event"] == "step" else own
            mine.append({name: value for name, value in line.items() if "/" not in name} | about)
    return mine
