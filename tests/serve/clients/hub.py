"""``huggingface_hub``: every method for texts, at once and awaited."""

from typing import Any

from asking import ADDRESS, KEY, MASKED, MESSAGES, NARROW, OTHERS, QUESTION, TEXT, tell
from huggingface_hub import AsyncInferenceClient, InferenceClient


def at(name: str) -> str:
    return f"{ADDRESS}/models/{name}"


def cases(kind: str, make: Any) -> dict[str, Any]:
    ask = make()
    table = {"film": ["good"], "plot": ["bad"]}
    impatient = make(headers={"X-Request-Timeout": "0.000001"})
    found = {
        "text_classification": lambda: ask.text_classification(TEXT, model=at("classify")),
        "text_classification/multilabel": lambda: ask.text_classification(TEXT, model=at("multilabel")),
        "text_classification/intent": lambda: ask.text_classification(TEXT, model=at("intent")),
        "text_classification/top_k": lambda: ask.text_classification(TEXT, model=at("classify"), top_k=1),
        "token_classification": lambda: ask.token_classification(
            TEXT, model=at("tag"), aggregation_strategy="simple", ignore_labels=["O"]
        ),
        "question_answering": lambda: ask.question_answering(**QUESTION, model=at("answer")),
        "feature_extraction": lambda: ask.feature_extraction(OTHERS, model=at("embed"), normalize=True, truncate=True),
        "feature_extraction/one": lambda: ask.feature_extraction(OTHERS[0], model=at("embed")),
        "sentence_similarity": lambda: ask.sentence_similarity(TEXT, OTHERS, model=at("embed")),
        "sentence_similarity/score": lambda: ask.sentence_similarity(TEXT, OTHERS, model=at("score")),
        "zero_shot_classification": lambda: ask.zero_shot_classification(TEXT, OTHERS, model=at("pairs")),
        "summarization": lambda: ask.summarization(TEXT, model=at("transform")),
        "translation": lambda: ask.translation(TEXT, model=at("transform")),
        "fill_mask": lambda: ask.fill_mask(MASKED, model=at("fill")),
        "text_generation": lambda: ask.text_generation(TEXT, model=at("likelihood"), max_new_tokens=5),
        "text_generation/details": lambda: ask.text_generation(
            TEXT, model=at("likelihood"), max_new_tokens=5, details=True
        ),
        "text_generation/stream": lambda: ask.text_generation(
            TEXT, model=at("likelihood"), max_new_tokens=5, stream=True
        ),
        "text_generation/stream/details": lambda: ask.text_generation(
            TEXT, model=at("likelihood"), max_new_tokens=5, stream=True, details=True
        ),
        "chat_completion": lambda: ask.chat_completion(MESSAGES, model=at("chat")),
        "chat_completion/stream": lambda: ask.chat_completion(MESSAGES, model=at("chat"), stream=True),
        "chat.completions.create": lambda: make(base_url=f"{ADDRESS}/v1").chat.completions.create(
            model="chat", messages=MESSAGES
        ),
        "get_endpoint_info": lambda: make(provider="hf-inference", model=at("classify")).get_endpoint_info(),
        "health_check": lambda: make(provider="hf-inference", model=at("classify")).health_check(),
        "not here: table_question_answering": lambda: ask.table_question_answering(table, TEXT, model=at("classify")),
        "wrong/model": lambda: ask.text_classification(TEXT, model=at("other")),
        "wrong/task": lambda: ask.fill_mask(MASKED, model=f"{at('classify')}/pipeline/fill-mask"),
        "wrong/text": lambda: ask.text_generation(TEXT, model=at("likelihood"), temperature=-1.0),
        "wrong/key": lambda: make(token="x" * 20).text_classification(TEXT, model=f"{NARROW}/models/classify"),
        "wrong/late": lambda: impatient.text_classification(TEXT, model=at("classify")),
        "wrong/often": lambda: make(token=KEY).feature_extraction([TEXT] * 50, model=f"{NARROW}/models/embed"),
        "wrong/timeout": lambda: make(timeout=1e-6).text_classification(TEXT, model=at("classify")),
    }
    return {f"{kind}/{name}": case for name, case in found.items()}


tell(["huggingface_hub"], cases("sync", InferenceClient) | cases("async", AsyncInferenceClient))
