"""A real server: it answers, and ends when it is asked to."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from lathe.cli import main
from lathe.loader import load
from lathe.serve.stage import refuse_strangers


def test_a_served_model_answers_like_the_loaded_one_and_stops_on_sigterm(classifier):
    command = [sys.executable, "-m", "lathe", "serve", str(classifier), "port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://[\d.:]+", server.stderr.readline()).group()
        body = json.dumps({"rows": ["good film", "坏影片"]}).encode()
        request = urllib.request.Request(f"{address}/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert "server" not in {name.lower() for name in reply.headers}
            found = json.load(reply)
        wanted = [one.to_json() for one in load(classifier)(["good film", "坏影片"])]
        assert [one["label"] for one in found["predictions"]] == [one["label"] for one in wanted]
        assert [one["score"] for one in found["predictions"]] == pytest.approx(
            [one["score"] for one in wanted], abs=1e-5
        )
        assert found["model"].startswith("classifier@")
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=30)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 0
    assert "film" not in out + err.replace("a text", "")
    assert "Traceback" not in err


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
