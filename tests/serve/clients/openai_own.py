"""``openai``, at once and awaited."""

from typing import Any

from asking import ADDRESS, KEY, MESSAGES, NARROW, OTHERS, TEXT, tell
from openai import AsyncOpenAI, OpenAI


def cases(kind: str, make: Any) -> dict[str, Any]:
    ask, narrow = (make(base_url=f"{place}/v1", api_key=KEY, max_retries=0) for place in (ADDRESS, NARROW))
    stranger = make(base_url=f"{NARROW}/v1", api_key="x" * 20, max_retries=0)
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    text, chat = {"model": "likelihood", "prompt": TEXT, "max_tokens": 5}, {"model": "chat", "messages": MESSAGES}
    late = {"extra_headers": {"X-Request-Timeout": "0.000001"}}
    found = {
        "embeddings": lambda: ask.embeddings.create(model="embed", input=OTHERS),  # base64 on the wire
        "embeddings/float": lambda: ask.embeddings.create(model="embed", input=OTHERS, encoding_format="float"),
        "embeddings/dimensions": lambda: ask.embeddings.create(model="embed", input=OTHERS, dimensions=4),
        "completions": lambda: ask.completions.create(**text),
        "completions/stream": lambda: ask.completions.create(**text, **usage),
        "chat": lambda: ask.chat.completions.create(**chat),
        "chat/stream": lambda: ask.chat.completions.create(**chat, **usage),
        "chat/parts": lambda: ask.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": [{"type": "text", "text": TEXT}]}]
        ),
        "models": lambda: ask.models.list(),
        "models/one": lambda: ask.models.retrieve("chat"),
        "wrong/model": lambda: ask.chat.completions.create(model="other", messages=MESSAGES),
        "wrong/task": lambda: ask.chat.completions.create(model="classify", messages=MESSAGES),
        "wrong/option": lambda: ask.chat.completions.create(**chat, n=2),
        "wrong/key": lambda: stranger.chat.completions.create(**chat),
        "wrong/late": lambda: ask.chat.completions.create(**chat, **late),
        "wrong/often": lambda: narrow.embeddings.create(model="embed", input=[TEXT] * 50),
        "wrong/timeout": lambda: ask.with_options(timeout=1e-6).chat.completions.create(**chat),
        "not here: responses": lambda: ask.responses.create(model="chat", input=TEXT),
    }
    return {f"{kind}/{name}": case for name, case in found.items()}


tell(["openai"], cases("sync", OpenAI) | cases("async", AsyncOpenAI))
