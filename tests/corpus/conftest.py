"""What tests of corpus steps share: a step run over documents as the stage would, without a stage."""

from collections.abc import Callable, Sequence

import pytest
from safetensors.numpy import load, save

from lathe.core.types import Document
from lathe.corpus.protocol import GlobalStep, Room, Step, Verdict

Judged = Callable[..., list[Verdict]]


class InMemory:
    """A shard as a global step sees it when it decides."""

    def __init__(self, step: GlobalStep, documents: Sequence[Document]) -> None:
        self.held, self.count = documents, len(documents)
        self.saved = save(dict(step.sketch(documents)))

    def sketch(self):
        return load(self.saved)

    def documents(self):
        return iter(self.held)


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """``judged(step, documents, shard=3, memory=2**20)``: one verdict for each document, in order.

    Documents come in shards of that many, and what a global step keeps of them goes through bytes, as on disk.
    """

    def run(step: Step, documents: Sequence[Document], shard: int = 3, memory: int = 2**20) -> list[Verdict]:
        if not isinstance(step, GlobalStep):
            return [step(document) for document in documents]
        shards = [InMemory(step, documents[i : i + shard]) for i in range(0, len(documents), shard)]
        if not shards:
            return []
        decision = step.decide(shards, Room(tmp_path_factory.mktemp("room"), memory))
        verdicts = [load(save(dict(arrays))) for arrays in decision.verdicts]
        assert len(verdicts) == len(shards)
        return [v for held, found in zip(shards, verdicts, strict=True) for v in step.judge(held.held, found)]

    return run
