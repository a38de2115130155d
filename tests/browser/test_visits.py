"""Visits to the page of a server by a browser, around tiny models: by keyboard, at two widths, in both languages."""

import json
import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest

from lathe.serve.app import build_app
from lathe.serve.keys import Keys
from lathe.serve.limits import Limits
from lathe.serve.served import Models, Served

from ..serve.conftest import EXAMPLES, every, opened  # noqa: F401 (fixtures)

playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'lathe[browser]'")
uvicorn = pytest.importorskip("uvicorn")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH"),
]
KEY = "k" * 20
WIDE, NARROW = (1440, "en-US"), (375, "zh-CN")
ANSWERED = ".answers article .answer, .turn.model[aria-busy=false]"
HOSTILE = [
    f"{quote}{tag}"
    for quote in ("", '"', "'", "]]>", "</textarea>", "-->", "\u202e", "`${alert(1)}`")
    for tag in (
        *(f"<{name} onload=alert(1) onerror=alert(1) src=x>" for name in ("img", "svg", "body", "iframe", "video")),
        *(f"<script>{code}</script>" for code in ("alert(1)", "document.title=1", "fetch('//x.test')")),
        *(f"<a href=javascript:alert({n})>" for n in range(4)),
        *(f"{a}constructor.constructor('alert(1)')(){b}" for a, b in (("{{", "}}"), ("${", "}"), ("#{", "}"))),
        *("<style>*{display:none}</style>", "<base href=//x.test>", "<meta http-equiv=refresh content=0>"),
        *(
            "&lt;script&gt;alert(1)",
            "\u0000<b>",
            "x" * 3000,
            "\u0301" * 300,
            "\\u003cscript>",
            "<math><mi//xlink:href=x>",
        ),
        *("<details open ontoggle=alert(1)>", "<form action=//x.test><button>", "🏳️‍🌈<marquee>", "\u2066\u2067\u2068a"),
    )
]


@contextmanager
def serving(models, **options):
    """The address of a server in a thread of this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = build_app(models, options.pop("limits", Limits()), writes_log=False, **options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    thread = threading.Thread(target=partial(server.run, sockets=[listener]), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])


@contextmanager
def visit(browser, width, locale, **options):
    """A page that fails where something of ours does: an error, a dialog, a breach of the policy."""
    context = browser.new_context(viewport={"width": width, "height": 900}, locale=locale, **options)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
    page.on(
        "request",
        lambda asked: (
            wrong.append(asked.url)
            if not asked.url.startswith("http://127.0.0.1:") and not asked.url.startswith("data:")
            else None
        ),
    )
    yield page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
    assert wrong == []


def press(page, name):
    """Reach a control by Tab alone, and press it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.task ?? document.activeElement.textContent") == name:
            page.keyboard.press("Enter")
            return
    pytest.fail(f"{name} cannot be reached by keyboard")


@pytest.fixture(scope="module")
def address(opened):  # noqa: F811
    with serving(opened(*EXAMPLES)) as address:
        yield address


TASKS = sorted({getattr(one.task, "kind", name) for name, one in EXAMPLES.items()} | {"generate"})


@pytest.mark.parametrize(("width", "locale"), [WIDE, NARROW], ids=["1440 en", "375 zh"])
@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_tried_by_keyboard(browser, address, task, width, locale):
    with visit(browser, width, locale) as page:
        page.goto(address)
        page.wait_for_selector(f"[data-task={task}]")
        press(page, task)
        press(page, "Example" if locale == "en-US" else "示例")
        page.wait_for_selector(ANSWERED)
        assert page.locator(".problem").all_inner_texts() == []
        assert "[object" not in page.inner_text("main")
        assert page.evaluate("document.documentElement.lang") == ("en" if locale == "en-US" else "zh-Hans")


@pytest.mark.parametrize("width", [1440, 375])
def test_hostile_texts_labels_and_names_are_only_shown(browser, address, width):
    def about(route):
        told = route.fetch().json()
        for model in told["models"]:
            model["labels"] = model["labels"] + HOSTILE[:20]
            model["scores"] = {text[:80]: 0.5 for text in HOSTILE}
            model["stage"] = HOSTILE[1]
        route.fulfill(json=told)

    def answer(route):
        asked = route.request.post_data_json["rows"][0]["text"]
        label = HOSTILE[len(asked) % len(HOSTILE)]
        spans = [{"start": 0, "end": 1, "label": label}, {"start": 0, "end": 1, "label": asked[:50]}]
        route.fulfill(json={"model": label, "predictions": [{"spans": spans}]})

    with visit(browser, width, "en-US") as page:
        page.route("**/v1/about", about)
        page.route("**/v1/tag", answer)
        page.goto(f"{address}/#models")
        page.wait_for_selector("details")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.goto(f"{address}/#try")
        page.click("[data-task=tag]")
        for text in HOSTILE:
            page.fill("textarea[name=text]", text)
            with page.expect_response("**/v1/tag"):
                page.keyboard.press("Control+Enter")
            assert (
                page.evaluate("document.querySelectorAll('main img, main script, main iframe, main style').length") == 0
            )
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), text[:60]


@pytest.mark.parametrize(
    ("spans", "shown"),
    [
        ([(2, 8, "OUT"), (2, 4, "IN")], "🎬北京INabcdOUT!"),
        ([(2, 5, "ONE"), (3, 9, "TWO")], "🎬北京aONEbcd!TWO"),
    ],
    ids=["nested", "overlapping"],
)
def test_spans_are_code_points_and_may_share_characters(browser, address, spans, shown):
    told = [{"start": start, "end": end, "label": label} for start, end, label in spans]
    with visit(browser, *WIDE) as page:
        page.route("**/v1/tag", lambda route: route.fulfill(json={"model": "m@1", "predictions": [{"spans": told}]}))
        page.goto(address)
        page.click("[data-task=tag]")
        page.fill("textarea[name=text]", "🎬 北京abcd!")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("mark mark")
        assert "".join(page.text_content(".reading").split()) == shown


@pytest.mark.parametrize(("other", "differs"), [("negative", True), ("positive", False)])
def test_two_models_beside_each_other_say_whether_they_differ(browser, opened, other, differs):  # noqa: F811
    one = opened("classify")["classify"]

    def answer(route):
        name = route.request.post_data_json["model"]
        label = "positive" if name == "a" else other
        told = {"label": label, "score": 1.0, "scores": {label: 1.0}}
        route.fulfill(json={"model": f"{name}@1", "predictions": [told]})

    models = Models([Served("a", "1", one.predictor), Served("b", "1", one.predictor)])
    with serving(models) as address, visit(browser, *WIDE) as page:
        page.route("**/v1/classify", answer)
        page.goto(address)
        page.select_option(".picks .field:last-child select", "b")
        page.fill("textarea[name=text]", "a film")
        page.wait_for_selector("article + article")
        assert (page.locator(".differ").count() == 1) == differs


def test_a_correction_is_sent_in_the_form_of_a_training_row(browser, address):
    sent = []

    def keep(route):
        sent.append(route.request.post_data_json)
        route.fulfill(json={"id": sent[-1]["id"], "stored": True})

    def about(route):
        route.fulfill(json=route.fetch().json() | {"feedback": True})

    with visit(browser, *WIDE) as page:
        page.route("**/v1/feedback", keep)
        page.route("**/v1/about", about)
        page.goto(address)
        page.click("[data-task=classify]")
        press(page, "Example")
        page.wait_for_selector(".judge")
        press(page, "Correct it")
        page.keyboard.type("good")
        press(page, "Send correction")
        page.get_by_text("Thank you, stored.").first.wait_for()
    assert sent[0]["correction"] == {"label": "good"} and sent[0]["rating"] == -1 and sent[0]["task"] == "classify"
    assert "text" in sent[0]["row"] and "label" in sent[0]["prediction"]


def test_traffic_is_shown_and_asked_once_in_two_seconds(browser, address):
    asked = []
    with visit(browser, *NARROW) as page:
        page.on("request", lambda one: asked.append(one.url) if one.url.endswith("/v1/traffic") else None)
        page.goto(f"{address}/#traffic")
        page.wait_for_selector("table")
        page.wait_for_timeout(3000)
    assert 1 <= len(asked) <= 3


def test_the_key_is_asked_for_and_kept_in_the_tab_alone(browser, opened):  # noqa: F811
    with serving(opened("tag"), keys=Keys({"ann": KEY})) as address, visit(browser, *WIDE) as page:
        page.goto(address)
        page.wait_for_selector("input[type=password]")
        page.keyboard.type("w" * 20)
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-task=tag]")
        assert page.evaluate("Object.values(sessionStorage)") == [KEY]
        assert KEY not in json.dumps(page.evaluate("[document.cookie, {...localStorage}, location.href]"))


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_is_told_in_the_words_of_the_server(browser, address, status):
    with visit(browser, *WIDE) as page:
        refusal = {"error": "too much waits; ask again", "error_type": "overloaded"}
        page.route(
            "**/v1/classify", lambda route: route.fulfill(status=status, json=refusal, headers={"Retry-After": "2"})
        )
        page.goto(address)
        page.click("[data-task=classify]")
        press(page, "Example")
        page.wait_for_selector(".problem")
        told = page.inner_text(".problem")
    assert refusal["error"] in told and "Ask again" in told


def test_the_language_is_remembered(browser, address):
    with visit(browser, *WIDE) as page:
        page.goto(address)
        page.click("#language")
        page.reload()
        page.get_by_text("试用", exact=True).wait_for()


def test_models_with_an_ancestor_in_common_are_drawn_by_size_and_score(browser, address):
    def about(route):
        told = route.fetch().json()
        teacher = next(one for one in told["models"] if one["name"] == "classify") | {"scores": {"test.accuracy": 0.9}}
        parent = {"name": "classify", "digest": teacher["digest"], "stage": "finetune", "scores": {}}
        student = teacher | {"name": "student", "digest": "d", "size_bytes": 9000, "parents": [parent]}
        route.fulfill(json=told | {"models": [teacher, student | {"scores": {"test.accuracy": 0.88}}]})

    with visit(browser, *WIDE) as page:
        page.route("**/v1/about", about)
        page.goto(f"{address}/#models")
        page.wait_for_selector(".front circle")
        left = {
            one: page.locator(".front text", has_text=one).first.get_attribute("x") for one in ("classify", "student")
        }
        assert page.locator(".front circle").count() == 2 and float(left["student"]) < float(left["classify"])
