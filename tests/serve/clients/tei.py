"""Clients of text-embeddings-inference: ``tei-client``, and that of LlamaIndex."""

from typing import Any

from asking import ADDRESS, OTHERS, TEXT, tell
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from tei_client import HttpClient


def at(name: str) -> Any:
    return HttpClient(ADDRESS, params={"model": name})


llama: dict[str, Any] = {"model_name": "embed", "base_url": ADDRESS, "text_instruction": "", "query_instruction": ""}
index = TextEmbeddingsInference(endpoint="/embed?model=embed", **llama)

tell(
    ["tei-client", "llama-index-embeddings-text-embeddings-inference", "httpx"],
    {
        "info": lambda: at("embed").info(),
        "info/classifier": lambda: at("classify").info(),
        "info/reranker": lambda: at("rank").async_info(),
        "health": lambda: at("embed").health(),
        "embed": lambda: at("embed").embed(OTHERS),
        "async_embed": lambda: at("embed").async_embed(OTHERS),
        "classify": lambda: at("classify").classify([TEXT, OTHERS[0]]),
        "async_classify": lambda: at("pairs").async_classify([(TEXT, OTHERS[0])]),
        "rerank": lambda: at("rank").rerank(TEXT, OTHERS),
        "async_rerank": lambda: at("rank").async_rerank(TEXT, OTHERS, raw_scores=True, return_text=True),
        "tokenize": lambda: at("tag").tokenize([TEXT]),
        "prompt_names": lambda: at("tag").prompt_names(),
        "not here: embed_all": lambda: at("embed").embed_all(OTHERS),
        "not here: decode": lambda: at("embed").decode([1, 2]),
        "llama_index/text": lambda: index.get_text_embedding(OTHERS[0]),
        "llama_index/batch": lambda: index.get_text_embedding_batch(OTHERS),
        "llama_index/query": lambda: index.aget_query_embedding(OTHERS[0]),
    },
)
