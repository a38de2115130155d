"""``langchain-openai`` and ``langchain-huggingface``."""

from typing import Any

import tiktoken
from asking import ADDRESS, KEY, MESSAGES, OTHERS, TEXT, tell
from huggingface_hub import AsyncInferenceClient, InferenceClient
from langchain_huggingface import ChatHuggingFace, HuggingFaceEndpoint, HuggingFaceEndpointEmbeddings
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

# The tokenizer that OpenAIEmbeddings takes by default would be fetched from elsewhere; this one has its name.
tiktoken.registry.ENCODINGS["cl100k_base"] = tiktoken.Encoding(
    "cl100k_base", pat_str=r".", mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={}
)
openai: dict[str, Any] = {"base_url": f"{ADDRESS}/v1", "api_key": KEY, "max_retries": 0}
chat, text = ChatOpenAI(model="chat", **openai), OpenAI(model="likelihood", max_tokens=5, temperature=0, **openai)
vectors = OpenAIEmbeddings(model="embed", check_embedding_ctx_length=False, **openai)
numbered = OpenAIEmbeddings(model="embed", **openai)
endpoint = HuggingFaceEndpoint(endpoint_url=f"{ADDRESS}/models/likelihood", max_new_tokens=5)
talking = ChatHuggingFace(
    llm=HuggingFaceEndpoint(endpoint_url=f"{ADDRESS}/models/chat", temperature=0), model_id="chat", max_tokens=4
)
hub = HuggingFaceEndpointEmbeddings(model="embed")  # takes no address, but a client of one
hub.client = InferenceClient(model=f"{ADDRESS}/models/embed")
hub.async_client = AsyncInferenceClient(model=f"{ADDRESS}/models/embed")


async def _text(message: Any) -> str:
    return str((await message).text)


tell(
    ["langchain-openai", "langchain-huggingface", "langchain-core", "openai", "huggingface_hub"],
    {
        "ChatOpenAI.invoke": lambda: chat.invoke(MESSAGES).text,
        "ChatOpenAI.ainvoke": lambda: _text(chat.ainvoke(MESSAGES)),
        "ChatOpenAI.stream": lambda: "".join(piece.text for piece in chat.stream(MESSAGES)),
        "ChatOpenAI.batch": lambda: [one.text for one in chat.batch([MESSAGES, MESSAGES])],
        "OpenAI.invoke": lambda: text.invoke(TEXT),
        "OpenAI.ainvoke": lambda: text.ainvoke(TEXT),
        "OpenAI.stream": lambda: "".join(text.stream(TEXT)),
        "OpenAIEmbeddings.embed_documents": lambda: vectors.embed_documents(OTHERS),
        "OpenAIEmbeddings.aembed_query": lambda: vectors.aembed_query(OTHERS[0]),
        "OpenAIEmbeddings by numbers of tokens": lambda: numbered.embed_documents(OTHERS),
        "HuggingFaceEndpoint.invoke": lambda: endpoint.invoke(TEXT),
        "HuggingFaceEndpoint.ainvoke": lambda: endpoint.ainvoke(TEXT),
        "HuggingFaceEndpoint.stream": lambda: "".join(endpoint.stream(TEXT)),
        "ChatHuggingFace.invoke": lambda: talking.invoke(MESSAGES).text,
        "HuggingFaceEndpointEmbeddings.embed_documents": lambda: hub.embed_documents(OTHERS),
        "HuggingFaceEndpointEmbeddings.aembed_query": lambda: hub.aembed_query(OTHERS[0]),
    },
)
