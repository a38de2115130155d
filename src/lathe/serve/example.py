"""What a model can be asked first."""

from typing import Any

from lathe.likelihood.fill import Fill
from lathe.serve.served import Served


def example(served: Served) -> tuple[str, Any]:
    """A task of the model, and a row of it."""
    task = getattr(served.predictor, "task", None)
    if isinstance(task, Fill):
        return task.kind, f"a {task.mask}"
    kind = served.kinds[0]
    rows: dict[str, Any] = {
        "choose": {"text": "a text", "choices": ["one", "other"]},
        "answer": {"context": "a text that says it", "question": "what?"},
        "rank": {"query": "a text", "candidates": ["one", "other"]},
        "recommend": {"history": ["an item"]},
    }
    if getattr(task, "entities", None) == "given":
        ends = [{"start": 0, "end": 1, "label": "one"}, {"start": 2, "end": 6, "label": "other"}]
        rows["relate"] = {"text": "a text", "head": ends[0], "tail": ends[1]}
    pair = {"text": "a text", "text_pair": "another"} if getattr(task, "pair", False) else "a text"
    return kind, rows.get(kind, pair)
