"""A real server: it answers, and ends when it is asked to."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from lathe.cli import main
from lathe.loader import load
from lathe.serve.stage import refuse_strangers

from .conftest import until


@contextmanager
def server_of(*arguments):
    """A server in a process of its own, and its address."""
    command = [sys.executable, "-m", "lathe", "serve", *map(str, arguments), "port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield server, re.search(r"http://[\d.:]+", server.stderr.readline()).group()
    finally:
        server.kill()
        server.communicate()


def ask(address, route, question, **headers):
    body = json.dumps(question).encode()
    request = urllib.request.Request(f"{address}{route}", body, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert "server" not in {name.lower() for name in reply.headers}
        return json.load(reply)


def test_served_models_answer_like_the_loaded_ones_and_stop_on_sigterm(classifier, tagger):
    with server_of(classifier, f"places={tagger}", "drain_s=0.1") as (server, address):
        found = ask(address, "/v1/classify", {"rows": ["good film", "坏影片"]})
        places = ask(address, "/v1/tag", {"rows": ["in Paris"], "model": "places"})
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=30)
    wanted = [one.to_json() for one in load(classifier)(["good film", "坏影片"])]
    assert [one["label"] for one in found["predictions"]] == [one["label"] for one in wanted]
    assert [one["score"] for one in found["predictions"]] == pytest.approx([one["score"] for one in wanted], abs=1e-5)
    assert found["model"].startswith("classifier@")
    assert places["model"].startswith("places@")
    assert places["predictions"] == [one.to_json() for one in load(tagger)(["in Paris"])]
    assert server.returncode == 0
    assert "film" not in out + err.replace("a text", "")
    assert "Traceback" not in err
    assert [json.loads(line)["rows"] for line in err.splitlines() if line.startswith("{")] == [2, 1]


def test_a_server_that_is_to_end_answers_for_a_while_and_says_that_it_is_not_ready(classifier):
    with server_of(classifier, "drain_s=2") as (server, address):
        ask(address, "/v1/classify", {"rows": ["good"]})
        server.send_signal(signal.SIGTERM)
        until(lambda: status(f"{address}/ready") == 503)
        assert ask(address, "/v1/classify", {"rows": ["good"]})["predictions"]
        server.communicate(timeout=30)
    assert server.returncode == 0


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_other_machines_may_ask_with_a_key(classifier, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# who may ask\nann 0123456789abcdef\n", encoding="utf-8")
    with server_of(classifier, "host=0.0.0.0", f"keys={keys}", "log=false") as (server, address):
        local = address.replace("0.0.0.0", "127.0.0.1")
        assert status(f"{local}/v1/models") == status(f"{local}/metrics") == 401
        assert ask(local, "/v1/classify", {"rows": ["good"]}, Authorization="Bearer 0123456789abcdef")["predictions"]


@pytest.mark.parametrize(
    "line", ["ann short", "ann", "a b c 0123456789abcdef", "ann " + "k" * 16 + "\nann " + "l" * 16]
)
def test_a_file_of_keys_is_checked_and_no_key_is_told(classifier, tmp_path, capsys, line):
    keys = tmp_path / "keys"
    keys.write_text(line, encoding="utf-8")
    assert main(["serve", str(classifier), f"keys={keys}"]) == 2
    said = capsys.readouterr().err
    assert f"{keys}:" in said
    assert line.split()[-1] not in said


def test_two_models_of_one_name_are_refused_with_the_way_out(classifier, capsys):
    assert main(["serve", str(classifier), str(classifier)]) == 2
    assert "NAME=" in capsys.readouterr().err


def test_a_name_that_no_client_could_ask_for_is_refused(classifier, capsys):
    assert main(["serve", f"a b={classifier}"]) == 2
    assert "'a b'" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_an_address_that_others_reach_is_refused(classifier, capsys, host):
    assert main(["serve", str(classifier), f"host={host}"]) == 2
    assert "other machines" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_an_address_of_this_machine_is_taken(host):
    refuse_strangers(host)


def test_a_port_in_use_is_named_with_the_way_out(classifier, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", str(classifier), f"port={taken.getsockname()[1]}"]) == 2
    assert "port=0 takes a free one" in capsys.readouterr().err


def test_a_model_without_a_task_is_refused_before_a_port_is_taken(tmp_path, capsys):
    from lathe.core.bundle import Manifest, seal

    (tmp_path / "m").mkdir()
    seal(tmp_path / "m", Manifest(kind="model", stage="pretrain"))
    assert main(["serve", str(tmp_path / "m")]) == 2
    assert "lathe finetune" in capsys.readouterr().err
