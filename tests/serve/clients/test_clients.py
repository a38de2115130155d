"""Clients of other servers, as they are: what they make of an answer is what the loaded model answers.

Each script of this folder runs where its clients are installed, against a server in a process of its own. Run with
``make clients``; ``-s`` shows a line of JSON for each method of each client.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lathe.generation import Generation, load_generator
from lathe.loader import load

from .. import test_walk as walk
from ..conftest import EXAMPLES
from ..test_native import same
from ..test_stage import server_of

pytestmark = pytest.mark.clients
ROOT = Path(__file__).parents[3]
PYTHON = os.environ.get("LATHE_CLIENTS", str(ROOT / ".venv-clients" / "bin" / "python"))
KEY = "k" * 20


@pytest.fixture(scope="module")
def addresses(every, tmp_path_factory):
    """A server of every model, and one that wants a key and lets it ask 20 rows a minute."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"ann {KEY}\n", encoding="utf-8")
    narrow = (every("classify"), every("embed"), every("chat"), f"keys={keys}", "limits.key_rows_per_minute=20")
    with server_of(*map(every, EXAMPLES), "log=false") as (_, address), server_of(*narrow, "log=false") as (_, other):
        yield address, other


@pytest.fixture(scope="module")
def told(addresses):
    """What a script prints: the versions of its clients, and what each case gave or raised."""

    def run(script, python=PYTHON):
        if not Path(python).is_file():
            pytest.fail(f"{python}: the clients are not installed; run make clients")
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_TOKEN")}
        command = [python, str(Path(__file__).parent / script), *addresses, KEY]
        done = subprocess.run(
            command, capture_output=True, text=True, env=own | {"HF_HUB_DISABLE_TELEMETRY": "1"}, timeout=300
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def model(every):
    known = {}
    return lambda name: known.setdefault(name, load(every(name)))


def compare(script, found, wanted, raised):
    """Each case with what it should give, or raise with this in its text; the line of each, and those that differ."""
    assert found["cases"].keys() == wanted.keys() | raised.keys()
    wrong = []
    for name, outcome in found["cases"].items():
        if name in raised:
            kind, reason = raised[name]
            passed = outcome.get("raised") in kind.split("|") and reason in outcome["text"]
        else:
            passed = "answer" in outcome and bool(wanted[name](outcome["answer"]))
        line = {"script": script, "versions": found["versions"], "method": name, "passed": passed}
        print(f"CLIENT {json.dumps(line)}")
        wrong += [] if passed else [(name, str(outcome)[:400])]
    assert wrong == []


def equal(value):
    return lambda answer: same(answer, value)


def text_of(pieces, *path):
    """The texts of streamed objects, joined."""
    found = []
    for piece in pieces:
        for step in path:
            piece = (piece[step] if len(piece) > step else {}) if isinstance(step, int) else piece.get(step, {})
        found.append(piece or "")
    return "".join(found)


# --------------------------------------------------------------------------------------------------- huggingface_hub
@pytest.mark.parametrize("python", [sys.executable, PYTHON], ids=["ours", "older"])
def test_the_hubs_client(told, model, every, python):
    (text,) = load_generator(every("likelihood"))([walk.TEXT], Generation(max_new_tokens=5))
    (chat,) = model("chat")([{"messages": walk.MESSAGES}])
    labels = walk.labels(model("classify"), walk.TEXT)
    embedded, written = walk.vectors(model("embed")), walk.written(model("transform"))[0]
    said = ("choices", 0, "message", "content")
    wanted = {
        "text_classification": equal(labels),
        "text_classification/multilabel": equal(walk.labels(model("multilabel"), walk.TEXT)),
        "text_classification/intent": equal(walk.labels(model("intent"), walk.TEXT)),
        "text_classification/top_k": equal(labels[:1]),
        "token_classification": equal(walk.entities(model("tag"))),
        "question_answering": equal(walk.best_span(model("answer"))),
        "feature_extraction": equal(embedded),
        "feature_extraction/one": equal(embedded[:1]),
        "sentence_similarity": equal(walk.alike(model("embed"))),
        "sentence_similarity/score": equal(walk.alike(model("score"))),
        "zero_shot_classification": equal(walk.entailed(model("pairs"))),
        "summarization": lambda answer: answer["summary_text"] == written["summary_text"] != "",
        "translation": lambda answer: answer["translation_text"] == written["summary_text"] != "",
        "fill_mask": equal(walk.filled(model("fill"))),
        "text_generation": equal(text.text),
        "text_generation/details": lambda answer: (
            (answer["generated_text"], answer["details"]["generated_tokens"]) == (text.text, text.tokens)
        ),
        "text_generation/stream": lambda answer: "".join(answer) == text.text and len(answer) > 2,
        "text_generation/stream/details": lambda answer: (
            text_of(answer, "token", "text") == answer[-1]["generated_text"] == text.text
        ),
        "chat_completion": lambda answer: text_of([answer], *said) == chat.text != "",
        "chat_completion/stream": lambda answer: (
            text_of(answer, "choices", 0, "delta", "content") == chat.text and len(answer) > 2
        ),
        "chat.completions.create": lambda answer: text_of([answer], *said) == chat.text,
        "get_endpoint_info": lambda answer: answer["model_id"] == "classify",
        "health_check": equal(True),
    }
    failed, late = "HfHubHTTPError|BadRequestError", "InferenceTimeoutError|ReadTimeout|ConnectTimeout"
    raised = {
        "not here: table_question_answering": (failed, "inputs"),
        "wrong/model": (failed, "no model of this name is served"),
        "wrong/task": (failed, "cannot be asked so"),
        "wrong/text": ("ValidationError", "parameters.temperature"),
        "wrong/key": (failed, "send a key"),
        "wrong/late": (failed, "the time of this request is over"),
        "wrong/often": (failed, "20 rows a minute"),
        "wrong/timeout": (late, ""),
    }
    compare("hub", told("hub.py", python), both(wanted), both(raised))


def both(cases):
    return {f"{kind}/{name}": case for kind in ("sync", "async") for name, case in cases.items()}


# ------------------------------------------------------------------------------------------------------------ openai
def test_the_client_of_openai(told, model, every):
    (text,) = load_generator(every("likelihood"))([walk.TEXT], Generation(max_new_tokens=5))
    (chat,) = model("chat")([{"messages": walk.MESSAGES}])
    embedded, said = walk.vectors(model("embed")), ("choices", 0, "message", "content")

    def is_embedded(answer):
        return same([one["embedding"] for one in answer["data"]], embedded) and answer["usage"]["prompt_tokens"] > 0

    def is_streamed(wanted, *path):
        return lambda answer: text_of(answer, *path) == wanted and answer[-1]["usage"]["completion_tokens"] > 1

    wanted = {
        "embeddings": is_embedded,
        "embeddings/float": is_embedded,
        "embeddings/dimensions": lambda answer: [len(one["embedding"]) for one in answer["data"]] == [4, 4],
        "completions": lambda answer: text_of([answer], "choices", 0, "text") == text.text,
        "completions/stream": is_streamed(text.text, "choices", 0, "text"),
        "chat": lambda answer: text_of([answer], *said) == chat.text,
        "chat/stream": is_streamed(chat.text, "choices", 0, "delta", "content"),
        "chat/parts": lambda answer: text_of([answer], *said) == chat.text,
        "models": lambda answer: (
            [one["id"] for one in (answer["data"] if isinstance(answer, dict) else answer)] == [*EXAMPLES]
        ),
        "models/one": lambda answer: answer["id"] == "chat",
    }
    raised = {
        "wrong/model": ("NotFoundError", "no model of this name is served"),
        "wrong/task": ("UnprocessableEntityError", "chat needs another model"),
        "wrong/option": ("UnprocessableEntityError", "n: "),
        "wrong/key": ("AuthenticationError", "send a key"),
        "wrong/late": ("InternalServerError", "503"),
        "wrong/often": ("RateLimitError", "20 rows a minute"),
        "wrong/timeout": ("APITimeoutError", ""),
        "not here: responses": ("NotFoundError", ""),
    }
    compare("openai", told("openai_own.py"), both(wanted), both(raised))


# --------------------------------------------------------------------------------------------------------- langchain
def test_the_clients_of_langchain(told, model, every):
    (text,) = load_generator(every("likelihood"))([walk.TEXT], Generation(max_new_tokens=5))
    (chat,) = model("chat")([{"messages": walk.MESSAGES}])
    embedded = walk.vectors(model("embed"))
    wanted = {
        "ChatOpenAI.invoke": equal(chat.text),
        "ChatOpenAI.ainvoke": equal(chat.text),
        "ChatOpenAI.stream": equal(chat.text),
        "ChatOpenAI.batch": equal([chat.text] * 2),
        "OpenAI.invoke": equal(text.text),
        "OpenAI.ainvoke": equal(text.text),
        "OpenAI.stream": equal(text.text),
        "OpenAIEmbeddings.embed_documents": equal(embedded),
        "OpenAIEmbeddings.aembed_query": equal(embedded[0]),
        "HuggingFaceEndpoint.invoke": equal(text.text),
        "HuggingFaceEndpoint.ainvoke": equal(text.text),
        "HuggingFaceEndpoint.stream": equal(text.text),
        "ChatHuggingFace.invoke": equal(chat.text),
        "HuggingFaceEndpointEmbeddings.embed_documents": equal(embedded),
        "HuggingFaceEndpointEmbeddings.aembed_query": equal(embedded[0]),
    }
    raised = {"OpenAIEmbeddings by numbers of tokens": ("UnprocessableEntityError", "check_embedding_ctx_length=False")}
    compare("langchain", told("chains.py"), wanted, raised)


# ----------------------------------------------------------------------------------------- text-embeddings-inference
def test_clients_of_text_embeddings_inference(told, model):
    embedded, pair = walk.vectors(model("embed")), {"text": walk.TEXT, "text_pair": walk.OTHERS[0]}
    both_texts = [{"scores": walk.labels(model("classify"), text)} for text in (walk.TEXT, walk.OTHERS[0])]
    found, squeezed = walk.ranked(model("rank"), False), walk.ranked(model("rank"), True)
    tokens = model("tag").tokenizer(walk.TEXT)["input_ids"]

    def is_of(kind):
        return lambda answer: answer["server_model_type"] == kind

    wanted = {
        "info": is_of("embedding"),
        "info/classifier": is_of("classifier"),
        "info/reranker": is_of("reranker"),
        "health": equal(True),
        "embed": equal(embedded),
        "async_embed": equal(embedded),
        "classify": equal(both_texts),
        "async_classify": equal([{"scores": walk.labels(model("pairs"), pair)}]),
        "rerank": equal({"ranks": squeezed}),
        "async_rerank": equal({"ranks": [one | {"text": walk.OTHERS[one["index"]]} for one in found]}),
        "tokenize": lambda answer: [one["id"] for one in answer[0]["tokens"]] == tokens,
        "prompt_names": equal([]),
        "not here: embed_all": lambda answer: answer["error"] == "Not Found",
        "not here: decode": lambda answer: answer["error"] == "Not Found",
        "llama_index/text": equal(embedded[0]),
        "llama_index/batch": equal(embedded),
        "llama_index/query": equal(embedded[0]),
    }
    compare("tei", told("tei.py"), wanted, {})


# -------------------------------------------------------------------------------------------------------------- curl
def test_curl(addresses, model):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    address, narrow = addresses

    def ask(place, *options):
        form = ["-s", "-w", "\n%{http_code}", "-H", "Content-Type: application/json"]
        done = subprocess.run([curl, *form, *options, place], capture_output=True, text=True, check=True, timeout=60)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    rows = json.dumps({"model": "classify", "rows": [walk.TEXT]}, ensure_ascii=False)
    big = json.dumps({"rows": ["a" * (5 << 20)]})
    found = {
        "POST": ask(f"{address}/v1/classify", "-d", rows),
        "POST chunked": ask(f"{address}/v1/classify", "-H", "Transfer-Encoding: chunked", "-d", rows),
        "GET": ask(f"{address}/v1/models"),
        "no key": ask(f"{narrow}/v1/classify", "-d", rows),
        "a key": ask(f"{narrow}/v1/classify", "-d", rows, "-H", f"X-API-Key: {KEY}"),
    }
    status = {"POST": 200, "POST chunked": 200, "GET": 200, "no key": 401, "a key": 200}
    wanted = model("classify")([walk.TEXT])[0].to_json()
    version = subprocess.run([curl, "--version"], capture_output=True, text=True).stdout.split()[1]
    for name, (code, answer) in found.items():
        passed = code == status[name] and ("POST" not in name or same(answer["predictions"], [wanted]))
        line = {"script": "curl", "versions": {"curl": version}, "method": name, "passed": passed}
        print(f"CLIENT {json.dumps(line)}")
        assert passed, (name, code, answer)
    with_file = subprocess.run(
        [curl, "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", "@-", f"{address}/v1/classify"],
        input=big, capture_output=True, text=True,
    )  # fmt: skip
    assert with_file.stdout == "413"
