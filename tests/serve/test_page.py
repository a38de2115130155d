"""The page: what its files may do, what it says in both languages, and what it is told."""

import re
from importlib.resources import files

import pytest

from lathe.serve.keys import Keys
from lathe.serve.page import NAMES, POLICY
from lathe.serve.recent import Recent

from .conftest import client_of

STATIC = files("lathe.serve").joinpath("static")
SOURCES = {name: STATIC.joinpath(name).read_text("utf-8") for name in NAMES}
PATHS = {name: "/" if name == "index.html" else f"/page/{name}" for name in NAMES}
KEY = "k" * 20


def test_every_file_of_the_folder_is_in_the_table_and_short():
    assert {one.name for one in STATIC.iterdir()} == set(NAMES)
    assert [name for name, text in SOURCES.items() if len(text.splitlines()) > 400] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_text_can_become_code(name):
    never = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|\bon\w+=|style=|javascript:|//cdn"
    )
    assert re.findall(never, SOURCES[name]) == []
    assert re.findall(r"""https?://(?!www\.w3\.org/2000/svg)[^"'` ]*""", SOURCES[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_sent_with_its_own_policy_and_not_sent_again(opened, name):
    with client_of(opened("tag"), keys=Keys({"ann": KEY})) as client:
        first = client.get(PATHS[name])
        assert first.status_code == 200 and first.text == SOURCES[name]
        assert first.headers.get_list("content-security-policy") == [POLICY]
        assert first.headers.get_list("cache-control") == ["no-cache"]
        again = client.get(PATHS[name], headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 304 and again.content == b""
        assert client.head(PATHS[name]).content == b""


def test_the_interface_for_programs_keeps_its_policy(opened):
    with client_of(opened("tag")) as client:
        for path in ("/health", "/v1/about", "/v1/traffic"):
            reply = client.get(path)
            assert reply.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
            assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/page/", "/page/app.py", "/page/../page.py", "/page/%2e%2e/page.py", "/page//etc"])
def test_nothing_but_the_files_of_the_table_is_sent(opened, path):
    with client_of(opened("tag")) as client:
        assert client.get(path).status_code == 404


def test_with_keys_the_page_is_open_and_what_it_asks_is_not(opened):
    with client_of(opened("tag"), keys=Keys({"ann": KEY})) as client:
        for path in ("/v1/about", "/v1/traffic"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert client.post("/", json={"inputs": "a"}).status_code == 401
        assert client.post("/page/main.js").status_code == 401


def test_every_string_is_there_in_both_languages_and_no_other_is_asked_for():
    english, chinese = re.split(r"\n  zh: \{", SOURCES["strings.js"])
    said = [re.findall(r'\b(\w+): "', one) for one in (english, chinese)]
    assert said[0] == said[1] and len(set(said[0])) == len(said[0])
    asked = {one for text in SOURCES.values() for one in re.findall(r'\bt\("(\w+)"', text)}
    assert asked <= set(said[0])


def test_examples_are_there_in_both_languages():
    english, chinese = re.split(r"\n  zh: \{", SOURCES["examples.js"])
    known = [re.findall(r"^    (\w+): ", one, re.MULTILINE) for one in (english, chinese)]
    assert known[0] == known[1] != []


def test_about_says_what_each_model_is_and_no_path(opened, every):
    with client_of(opened("tag", "fill", "likelihood")) as client:
        told = client.get("/v1/about").json()
    tag, fill, likelihood = told["models"]
    assert tag["tasks"] == ["tag"] and tag["labels"] == ["LOC", "PER"] and tag["size_bytes"] > 0
    assert fill["mask"] == "[MASK]" and likelihood["writes"]
    assert told["feedback"] is False and str(every("tag").parent) not in str(told)


def test_traffic_counts_what_asks_models_by_status_and_holds_no_text(opened):
    with client_of(opened("tag")) as client:
        client.get("/health")
        assert client.get("/v1/traffic").json()["requests"] == 0
        client.post("/v1/tag", json={"rows": ["a secret film"]})
        client.post("/v1/tag", json={"rows": []})
        told = client.get("/v1/traffic").json()
    assert told["requests"] == 2 and told["models"][0]["requests"] == 1 and "secret" not in str(told)
    statuses = [status for second in told["seconds"] for status in second["statuses"]]
    assert sorted(statuses) == ["200", "422"]


def test_quantiles_are_right_to_a_twentieth_and_leave_with_their_seconds():
    now = [0.0]
    recent = Recent(window_s=10, clock=lambda: now[0])
    for number in range(1, 101):
        recent.note(number / 1000, "a@1", 200)
    found = recent.of("a@1")
    for value, right in zip(found[1:], (50, 95, 99), strict=True):
        assert value == pytest.approx(right, rel=0.05)
    assert recent.of("b@1").requests == 0 and recent.of(None) == found
    now[0] = 10.0
    assert recent.of(None) == (0, None, None, None) and recent.seconds() == []
