"""Wikipedia's dumps: articles become text; redirects, other pages and broken ones are told apart and counted."""

import bz2
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from lathe.corpus.readers.wikitext import plain_text

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "mediawiki_dump_sample"
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">
  <siteinfo><sitename>Wikipedia</sitename><base>https://zh.wikipedia.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base>
    <namespaces><namespace key="0" case="first-letter" /><namespace key="6" case="x">Datei</namespace>
      <namespace key="14" case="x">Kategorie</namespace></namespaces></siteinfo>
"""


def page(title: str, text: str, ns: int = 0, extra: str = "") -> str:
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{ns}</ns>\n    <id>7</id>\n{extra}    <revision><id>8</id>"
        f"<timestamp>2024-01-02T03:04:05Z</timestamp><model>wikitext</model>"
        f'<text bytes="9" xml:space="preserve">{escape(text)}</text></revision>\n  </page>\n'
    )


def dump(*pages: str) -> bytes:
    return f"{HEAD}{''.join(pages)}</mediawiki>\n".encode()


FOUR = dump(
    page("数学", "'''数学'''是[[科学|研究]]数量的学科。"),
    page("數學", "#重定向 [[数学]]"),
    page("Maths", "#REDIRECT [[数学]]", extra='    <redirect title="数学" />\n'),
    page("Talk:数学", "讨论", ns=1),
    page("空", "{{消歧义}}"),
)


def test_articles_are_kept_with_where_they_are_from_and_the_rest_is_counted(read):
    found = read(FOUR)
    assert found.texts == ["数学是研究数量的学科。"]
    assert found.documents[0].meta == {
        "language": "zh",
        "title": "数学",
        "date": "2024-01-02T03:04:05Z",
        "url": "https://zh.wikipedia.org/wiki/数学",
    }
    assert found.reasons == ["a redirect", "a redirect", "not an article", "no text"]
    assert not found.bad


def test_a_dump_of_several_bzip2_streams_is_read_to_the_end(read):
    parts = [HEAD.encode(), *(page(f"T{n}", f"Text {n}.").encode() for n in range(5)), b"</mediawiki>"]
    found = read(b"".join(map(bz2.compress, parts)), "dump")
    assert found.texts == [f"Text {n}." for n in range(5)]


@pytest.mark.parametrize(
    "broken",
    [
        page("B", "x").replace("</title>", "</titel>"),
        page("B", "x").replace("  </page>\n", ""),
        page("B", "&&").replace("&amp;", "&"),
        page("B", "x").replace("x<", "\x0cx<"),
        page("B", "ü").encode().decode("latin-1")[:-40] + "\x00</page>",
        "  what is this\n",
    ],
)
def test_a_broken_page_costs_no_other(read, broken):
    content = dump(page("A", "One."), broken, page("C", "Three."))
    found = read(content)
    assert found.texts == ["One.", "Three."]
    (bad,) = found.bad
    assert bad.line == 2
    assert content[: bad.offset].count(b"<page>") == 1


@pytest.mark.parametrize("missing", [5, 12, 60, 200])
def test_a_dump_that_ends_early_says_so_and_keeps_what_is_whole(read, missing):
    content = dump(page("A", "One."), page("B", "Two."))
    found = read(content[:-missing])
    assert found.texts == (["One.", "Two."] if missing <= 20 else ["One."])
    assert len(found.bad) == 1


def test_entities_that_a_dump_declares_are_never_expanded(read):
    bomb = "<!DOCTYPE x [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;'>]>\n"
    found = read((bomb + dump(page("A", "x")).decode()).encode())
    assert not found.documents and "declares entities" in found.bad[0].reason
    found = read(dump(page("A", "ENTITY").replace("ENTITY", "&b;"), page("B", "Two.")))
    assert found.texts == ["Two."] and "undefined entity" in found.bad[0].reason


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Bold''' and ''italic''", "Bold and italic"),
        ("[[Light]] and [[Light|lamps]] and [[:Category:X]]", "Light and lamps and Category:X"),
        ("a[[File:x.jpg|thumb|A [[nested]] caption]]b[[Datei:y.png]]c", "abc"),
        ("text[[Category:Physics]]\n[[分类:物理]]\n[[de:Licht]]", "text"),
        ("one<ref name=x/> two<ref>note {{cite|a=b}}</ref> three", "one two three"),
        ("one {{a|{{b|c}}|[[d]]}}two", "one two"),
        ("top\n{| class=x\n| a || {{b}}\n|-\n| [[c]]\n|}\nend", "top\n\nend"),
        ("x <!-- hidden {{ -->y", "x y"),
        ("[https://x.org/a label] [https://x.org/b]", "label"),
        ("== One ==\ntext\n== Empty ==\n== Two ==\nmore", "One\ntext\n\nTwo\nmore"),
        ("=== Deep ===\n* item one\n# item two", "Deep\nitem one\nitem two"),
        ("a<math>x^2</math>b<br/>c &nbsp;d &amp; e", "ab\nc d & e"),
        ("他用-{zh-cn:计算机;zh-tw:電腦}-和-{A|zh-hans:软件;zh-hant:軟體}-写-{字}-", "他用计算机和软件写字"),
        ("数学（{{lang|en|}}，）很好", "数学很好"),
        ("{{lang|fr|Bonjour}} is {{convert|5|km|mi}} __NOTOC__", "Bonjour is 5 km"),
        ("never {{closed text", "never closed text"),
        ("closed}} twice]] here", "closed twice here"),
    ],
)
def test_wikitext_becomes_running_text(wikitext, text):
    from lathe.corpus.readers.wikitext import Namespaces

    assert plain_text(wikitext, Namespaces.of("Datei", "Kategorie")) == text


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample of a real dump is not here")
def test_a_real_dump_is_read_whole(read):
    found = read(SAMPLES / "enwiki-table-markup.xml.bz2")
    assert len(found.documents) == 5 and not found.bad
    assert not any(mark in text for text in found.texts for mark in ("{{", "}}", "[[", "<ref", "{|", "'''"))
