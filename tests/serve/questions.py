"""A request to every endpoint, each to one of the models of ``conftest.EXAMPLES``."""

import json
from typing import Any

from lathe.serve.page import NAMES

from .conftest import EXAMPLES

NDJSON = "application/x-ndjson"
ROWS: dict[str, tuple[str, Any]] = {
    getattr(example.task, "kind", name): (name, example.rows[0]) for name, example in EXAMPLES.items()
}
ROWS["rank"] = ("rank", {"query": "film", "candidates": ["good film"]})
ROWS["classify"], ROWS["generate"] = ("classify", "good film"), ("likelihood", "good film")
MESSAGES = [{"role": "user", "content": "good film"}]
BODIES: dict[str, Any] = {
    **{f"/v1/{kind}": {"model": name, "rows": [row]} for kind, (name, row) in ROWS.items()},
    "/v1/embeddings": {"model": "embed", "input": ["good film"]},
    "/v1/completions": {"model": "likelihood", "prompt": "good film", "max_tokens": 3},
    "/v1/chat/completions": {"model": "chat", "messages": MESSAGES, "max_tokens": 3},
    "/models/chat/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 3},
    "/embed": {"inputs": "good film"},
    "/predict?model=classify": {"inputs": "good film"},
    "/rerank?model=rank": {"query": "film", "texts": ["good film"]},
    "/similarity?model=embed": {"inputs": {"source_sentence": "good", "sentences": ["good film"]}},
    "/tokenize?model=tag": {"inputs": "good film"},
    "/?model=classify": {"inputs": "good film"},
    "/models/classify": {"inputs": "good film"},
    "/models/multilabel": {"inputs": "good film", "parameters": {"top_k": 1}},
    "/models/tag": {"inputs": "good film"},
    "/models/answer": {"inputs": {"question": "good", "context": "good film"}},
    "/models/embed": {"inputs": ["good film"]},
    "/models/embed/pipeline/sentence-similarity": {"inputs": {"source_sentence": "good", "sentences": ["a film"]}},
    "/models/pairs": {"inputs": "good film", "parameters": {"candidate_labels": ["film"]}},
    "/models/transform": {"inputs": "good film", "parameters": {"max_new_tokens": 3}},
    "/models/fill": {"inputs": "a [MASK] film"},
    "/models/likelihood": {"inputs": "good film", "parameters": {"max_new_tokens": 3}},
    "/v1/feedback": {"model": "classify", "task": "classify", "row": {"text": "good film"}, "rating": 1},
    **{f"/v1/{kind}/bulk?model={name}": [row] * 2 for kind, (name, row) in ROWS.items() if kind != "generate"},
}
"""By path, with its query where that names the model; a list is the lines of a bulk."""
GETS = ["/health", "/ready", "/", "/ping", "/metrics", "/openapi.json", "/v1/models", "/v1/models/classify"]
GETS += ["/info?model=classify", "/models/classify/info", "/models/classify/health", "/v1/about", "/v1/traffic"]
GETS += ["/v1/feedback", "/v1/feedback/summary"]
PAGE = ["/", *(f"/page/{name}" for name in NAMES if name != "index.html")]
GETS += PAGE[1:]
"""What is asked without a body."""


def is_bulk(path: str) -> bool:
    return path.partition("?")[0].endswith("/bulk")


def content_of(path: str, body: Any) -> tuple[bytes, str]:
    """What is sent, and as what."""
    if isinstance(body, bytes):
        return body, NDJSON if is_bulk(path) else "application/json"
    if is_bulk(path) and isinstance(body, list):
        return "\n".join(map(json.dumps, body)).encode(), NDJSON
    return json.dumps(body).encode(), NDJSON if is_bulk(path) else "application/json"
