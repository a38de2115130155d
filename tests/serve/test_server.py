"""The process of a server: clients that hold on, models that are replaced, workers that die."""

import os
import shutil
import signal
import socket
import threading
import time
from contextlib import contextmanager
from multiprocessing import get_context

import psutil
import pytest

from lathe.core.bundle import Manifest, seal
from lathe.core.errors import LatheError
from lathe.serve import workers
from lathe.serve.app import build_app
from lathe.serve.example import example
from lathe.serve.limits import Limits
from lathe.serve.refresh import Refresh
from lathe.serve.served import open_models
from lathe.serve.server import HEAD_BYTES, make_server
from lathe.serve.workers import Workers

from .conftest import EXAMPLES, client_of, make, until
from .test_stage import ask, server_of, status

QUICK = Limits(body_s=0.3, connections=8)
QUESTION = b'{"rows": ["good film"]}'


async def nothing() -> None:
    pass


@pytest.fixture(scope="module")
def port(opened):
    """A server in a thread, with little patience."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = make_server(build_app(opened("classify"), QUICK, writes_log=False), 0.0, nothing)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(30)


@contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        yield client


def read_all(client):
    """What comes until the server closes."""
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def request(path="/v1/classify", body=QUESTION, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def answers(port):
    with connected(port) as client:
        client.sendall(request("/v1/classify", QUESTION, "Connection: close"))
        return read_all(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n", request() + b"GET /hea"])
def test_a_client_that_does_not_end_its_request_is_let_go(port, sent):
    with connected(port) as client:
        client.sendall(sent)
        assert read_all(client).count(b"HTTP/1.1 ") == sent.count(QUESTION)


def test_a_client_that_sends_a_byte_now_and_then_is_let_go(port):
    with connected(port) as client:
        since_s = time.monotonic()
        with pytest.raises(OSError):
            for byte in request() * 100:
                client.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - since_s < 5
    assert answers(port)


def test_a_head_without_end_is_refused(port):
    with connected(port) as client, pytest.raises(OSError):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for number in range(1000):
            client.sendall(b"X-%d: %s\r\n" % (number, b"x" * (HEAD_BYTES // 8)))
            time.sleep(0.001)
        raise OSError("all of it was taken")
    assert answers(port)


def test_a_body_that_nobody_waits_for_is_not_read_for_ever(port):
    with connected(port) as client:
        client.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(2000):
                client.sendall(b"5\r\nhello\r\n")
                time.sleep(0.01)
    assert answers(port)


def test_more_connections_than_there_may_be_are_closed(port):
    clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(20)]
    time.sleep(0.1)
    closed = 0
    for client in clients:
        client.settimeout(0.01)
        try:
            closed += client.recv(1) == b""
        except TimeoutError:
            pass
        except ConnectionResetError:
            closed += 1
        client.close()
    assert closed >= 20 - QUICK.connections
    until(lambda: answers(port))


def test_many_requests_over_one_connection_are_each_answered(port):
    with connected(port) as client:
        client.sendall(request() * 5)
        found = b""
        while found.count(b"HTTP/1.1 200") < 5:
            found += client.recv(65536)


# --------------------------------------------------------------------------------------------------------- hot swap
@pytest.fixture
def link(every, tmp_path):
    """A link to a model, which can lead elsewhere."""
    found = tmp_path / "live"
    found.symlink_to(every("classify"))
    return found


def lead(link, folder):
    link.with_suffix(".new").symlink_to(folder)
    os.replace(link.with_suffix(".new"), link)


def another(tiny_all, folder):
    tokenizer, bert, gpt2 = tiny_all
    config = bert()
    config.hidden_dropout_prob = 0.05  # another digest
    return make(folder, "classify", tokenizer(), config, gpt2())


def test_a_model_takes_the_place_of_another_while_it_answers_and_gives_it_back(tiny_all, every, link, tmp_path):
    models = open_models({"live": link})
    old, refresh = models["live"], Refresh(models, {"live": link}, "fp32")
    new = another(tiny_all, tmp_path / "new")
    seen, is_over = [], threading.Event()
    with client_of(models, Limits(answer_s=2)) as client:

        def ask_on():
            while not is_over.is_set():
                seen.append(client.post("/v1/classify", json={"rows": ["good"]}))

        askers = [threading.Thread(target=ask_on) for _ in range(4)]
        for thread in askers:
            thread.start()
        for folder in (new, every("classify"), new):
            lead(link, folder)
            client.portal.call(refresh)
            time.sleep(0.1)
        is_over.set()
        for thread in askers:
            thread.join()
        asked = client.post("/v1/classify", json={"rows": ["good"], "model": old.title})
    assert {one.status_code for one in seen} == {200}
    assert {one.json()["model"] for one in seen} == {old.title, models["live"].title}
    assert models["live"].version != old.version
    assert asked.status_code == 404


def test_what_cannot_take_the_place_of_a_model_leaves_it(every, link, tmp_path, capsys):
    models = open_models({"live": link})
    old, refresh = models["live"], Refresh(models, {"live": link}, "fp32")
    broken = tmp_path / "broken"
    shutil.copytree(every("tag"), broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    seal(empty, Manifest(kind="model", stage="pretrain"))
    with client_of(models) as client:
        for folder, said in (
            (every("tag"), "start another"),
            (broken, "changed or damaged"),
            (empty, "lathe finetune"),
            (tmp_path / "gone", "gone"),
            (every("classify"), "is the same"),
        ):
            lead(link, folder)
            client.portal.call(refresh)
            assert said in capsys.readouterr().err
            assert client.post("/v1/classify", json={"rows": ["good"]}).json()["model"] == old.title


def test_the_threads_of_a_replaced_model_end(tiny_all, link, tmp_path):
    models = open_models({"live": link})
    with client_of(models, Limits(answer_s=0.1)) as client:
        before = {thread.name for thread in threading.enumerate()}
        client.post("/v1/classify", json={"rows": ["good"]})
        lead(link, another(tiny_all, tmp_path / "new"))
        client.portal.call(Refresh(models, {"live": link}, "fp32"))
        client.post("/v1/classify", json={"rows": ["good"]})
        count = sum(thread.name == "batches" for thread in threading.enumerate())
        until(lambda: sum(thread.name == "batches" for thread in threading.enumerate()) < count)
        assert client.post("/v1/classify", json={"rows": ["good"]}).status_code == 200
    assert before


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_model_can_be_asked_its_example(opened, name):
    served = opened(name)[name]
    if served.predictor is not None:
        assert len(served.predictor.predict(served.predictor.encode([example(served)[1]]))) == 1


# ---------------------------------------------------------------------------------------------------------- workers
def test_a_worker_that_dies_is_replaced_and_all_end_together(every):
    with server_of(f"live={every('classify')}", "workers=2", "drain_s=0.1", "log=false") as (server, address):
        asked = {"rows": ["good"]}
        assert ask(address, "/v1/classify", asked)["predictions"]
        main = psutil.Process(server.pid)
        begun = [child for child in main.children() if "spawn_main" in " ".join(child.cmdline())]
        assert len(begun) == 2
        begun[0].kill()
        until(lambda: status(f"{address}/ready") == 200)
        assert ask(address, "/v1/classify", asked)["predictions"]
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "another takes its place" in err
    assert not [child for child in begun if child.is_running()]


def fails(place):
    raise LatheError(f"no model {place}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # this process has threads, and the workers use none of them
def test_workers_that_cannot_begin_end_with_the_reason(monkeypatch):
    monkeypatch.setattr(workers, "get_context", lambda _: get_context("fork"))
    with pytest.raises(LatheError, match="worker [01] cannot begin"):
        Workers(2, fails, lambda: None).run()
