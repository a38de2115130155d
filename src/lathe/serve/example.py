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
    rows = {
        "choose": {"text": "a text", "choices": ["one", "other"]},
        "answer": {"context": "a text that says it", "question": "what?"},
        "rank": {"query": "a text", "candidates": ["one", "other"]},
        "recommend": {"history": ["an item"]},
    }
    pair = {"text": "a text", "text_pair": "another"} if getattr(task, "pair", False) else "a text"
    return kind, rows.get(kind, pair)
