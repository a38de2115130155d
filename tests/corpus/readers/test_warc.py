"""Web archives: pages and extracted texts are kept, what is no page is counted, what is broken costs no other."""

import gzip
import re
import sys
import zlib
from pathlib import Path

import pytest
import zstandard

from lathe.corpus.readers.html import LARGEST_PAGE

pytest.importorskip("resiliparse")

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "warc_samples"
ENGLISH = "The harbour was quiet before the storm came in, and nobody in the village had seen such a summer."
CHINESE = "我们的国家在这个时候有很多人来到中国学习，他说这是一个可以让大家都高兴的好消息。"


def html(text: str, head: str = "") -> str:
    menu = "<nav><a href='/'>Home</a> <a href='/b'>About us</a></nav>"
    return f"<html><head><title>A page</title>{head}</head><body>{menu}<article><p>{text}</p></article></body></html>"


def record(kind: str, block: bytes, uri: str = "http://x.org/", **headers: str) -> bytes:
    given = {"WARC-Type": kind, "WARC-Target-URI": uri, "WARC-Date": "2024-01-02T03:04:05Z"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": str(len(block))}
    return b"WARC/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in given.items()).encode() + b"\r\n" + block + b"\r\n\r\n"


def response(body: bytes, kind: str = "text/html", status: str = "200 OK", **headers: str) -> bytes:
    given = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in given.items())
    return record("response", head.encode() + b"\r\n" + body, Content_Type="application/http; msgtype=response")


def page(text: str) -> bytes:
    return response(html(text).encode(), "text/html; charset=utf-8")


def test_pages_are_kept_with_where_they_are_from_and_the_rest_is_counted(read):
    content = b"".join(
        [
            record("warcinfo", b"software: x\r\n"),
            record("request", b"GET / HTTP/1.1\r\n\r\n"),
            page(ENGLISH),
            record("metadata", b"{}"),
            response(b"", status="301 Moved"),
            response(b"\x89PNG", "image/png"),
            response(b"<html><body></body></html>"),
        ]
    )
    found = read(b"".join(map(gzip.compress, [content[:200], content[200:]])), "crawl")
    assert found.texts == [ENGLISH]
    assert found.documents[0].meta == {"title": "A page", "url": "http://x.org/", "date": "2024-01-02T03:04:05Z"}
    assert found.reasons == [
        "a warcinfo record",
        "a request record",
        "a metadata record",
        "an HTTP status other than 200",
        "not a web page",
        "no main text",
    ]
    assert not found.bad


@pytest.mark.parametrize(
    ("codec", "header", "meta"),
    [
        ("gb18030", "text/html; charset=gb2312", ""),
        ("gb18030", "text/html", '<meta charset="gbk">'),
        ("big5", "text/html; charset=Big5", ""),
        ("gb18030", "text/html", ""),
        ("gb18030", "text/html; charset=utf-8", ""),
        (
            "utf-8",
            "text/html; charset=iso-8859-1",
            '<meta http-equiv="Content-Type" content="text/html; charset=utf-8">',
        ),
    ],
)
def test_the_encoding_of_a_page_is_said_by_its_server_or_itself_or_told_from_its_bytes(read, codec, header, meta):
    text = (
        "我大不了在人有他和你地出道也年得就那要下以生天小心多手十用主行方又如前所本公同三已老日起只作"
        if codec == "big5"
        else CHINESE
    )
    found = read(response(html(text, meta).encode(codec), header))
    assert found.texts == [text]
    assert found.noted == {{"gb18030": "GB18030", "big5": "Big5", "utf-8": "UTF-8"}[codec]: 1}


def test_bodies_in_chunks_and_compressed_ones_are_put_together(read):
    body = html(ENGLISH).encode()
    chunks = b"%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\n\r\n" % (20, body[:20], len(body) - 20, body[20:])
    raw = zlib.compressobj(wbits=-15)
    found = read(
        response(chunks, Transfer_Encoding="chunked")
        + response(body, Transfer_Encoding="chunked")
        + response(gzip.compress(body), Content_Encoding="gzip")
        + response(zlib.compress(body), Content_Encoding="deflate")
        + response(raw.compress(body) + raw.flush(), Content_Encoding="deflate")
    )
    assert found.texts == [ENGLISH] * 5
    broken = read(
        response(chunks[:-30], Transfer_Encoding="chunked")
        + response(gzip.compress(body)[:-9], Content_Encoding="gzip")
    )
    assert not broken.documents and len(broken.bad) == 2


def test_bodies_in_other_encodings_are_decompressed_or_kept_as_they_were_shown(read):
    brotli = pytest.importorskip("brotli")
    body = html(ENGLISH).encode()
    compressed = {"br": brotli.compress(body), "zstd": zstandard.compress(body)}
    found = read(
        b"".join(response(some, Content_Encoding=name) for name, some in compressed.items())
        + response(brotli.compress(gzip.compress(body)), Content_Encoding="gzip, br")
        + b"".join(response(body, Content_Encoding=name) for name in ("br", "zstd", "identity", "utf-8"))
        + response(compressed["br"], "image/png", Content_Encoding="br")
    )
    assert found.texts == [ENGLISH] * 7
    assert found.reasons == ["not a web page"]
    torn = [response(some[:-5], Content_Encoding=name) for name, some in compressed.items()]
    bomb = brotli.compress(b"<html>" + b"x" * (LARGEST_PAGE + 1))
    broken = read(b"".join([*torn, response(bomb, Content_Encoding="br"), page(ENGLISH)]))
    assert broken.texts == [ENGLISH]
    assert ["early or is too large" in bad.reason for bad in broken.bad] == [True] * 3


def test_a_body_that_cannot_be_decompressed_is_quarantined_with_the_way_out(read, monkeypatch):
    some = bytes(range(256)) * 20
    found = read(response(some, Content_Encoding="compress") + page(ENGLISH))
    assert found.texts == [ENGLISH]
    assert found.bad[0].reason == "record 1: a body in the Content-Encoding 'compress', which is not read here"
    monkeypatch.setitem(sys.modules, "brotli", None)
    found = read(page(ENGLISH) + response(some, Content_Encoding="br"))
    assert found.texts == [ENGLISH]
    (bad,) = found.bad
    assert (bad.line, bad.value) == (2, "http://x.org/")
    assert "compressed by Brotli (Content-Encoding: br), which takes brotli" in bad.reason
    assert bad.fix == "pip install 'lathe[corpus]'"


def test_what_is_no_brotli_though_it_says_so_is_quarantined(read):
    pytest.importorskip("brotli")
    found = read(response(bytes(range(256)) * 20, Content_Encoding="br"))
    assert "not Brotli" in found.bad[0].reason


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_arc_archive_is_refused_with_the_way_to_make_a_warc_of_it(read, pack):
    version = b"1 0 Alexa Internet\nURL IP-address Archive-date Content-type Archive-length\n"
    head = b"filedesc://a.arc 0.0.0.0 20080430204825 text/plain %d\n%s\n" % (len(version), version)
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html(ENGLISH).encode()
    entry = b"http://x.org/ 1.2.3.4 20080430204826 text/html %d\n%s\n" % (len(body), body)
    found = read(pack(head) + pack(entry), "a.arc")
    assert not found.documents
    (bad,) = found.bad
    assert "an ARC archive" in bad.reason and "warcio recompress" in bad.fix


def test_texts_of_a_wet_file_are_kept_with_their_language(read):
    wet = record("warcinfo", b"x") + record(
        "conversion", CHINESE.encode(), Content_Type="text/plain", WARC_Identified_Content_Language="zho,eng"
    )
    found = read(gzip.compress(wet))
    assert found.texts == [CHINESE]
    assert found.documents[0].meta["language"] == "zho"


@pytest.mark.parametrize(
    "damage",
    [
        lambda one: one.replace(b"WARC/1.0", b"WORC/1.0"),
        lambda one: one.replace(b"Content-Length: ", b"Content-Length: -"),
        lambda one: one.replace(b"Content-Length: ", b"Content-Length: 9"),
        lambda one: one.replace(b"Content-Length: ", b"X-Length: "),
        lambda one: re.sub(rb"Content-Length: \d", b"Content-Length: ", one),
        lambda one: b"rubbish\r\n" + one[:0],
        lambda one: one[:-200] + b"\r\n",
    ],
)
@pytest.mark.parametrize("behind", [0, 2])
def test_a_broken_record_costs_no_other(read, damage, behind):
    content = page("First. " + ENGLISH) + damage(page(ENGLISH)) + page("Third. " + ENGLISH) * behind
    found = read(content)
    assert found.texts == [f"First. {ENGLISH}"] + [f"Third. {ENGLISH}"] * behind
    (bad,) = found.bad
    assert (bad.line, bad.offset) == (2, len(page("First. " + ENGLISH)))


def test_elements_nested_without_end_are_refused(read):
    found = read(response(b"<html><body>" + b"<div>" * 20000 + b"x") + page(ENGLISH))
    assert found.texts == [ENGLISH]
    assert "nested" in found.bad[0].reason


def test_a_page_in_no_clear_encoding_is_quarantined_with_its_readings(read):
    found = read(response(html("Où est passé l'été ? Voilà.").encode("latin-1")))
    assert not found.documents
    assert "not clear" in found.bad[0].reason and "Windows-1252" in found.bad[0].fix


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of real archives are not here")
@pytest.mark.parametrize(
    ("name", "records", "documents", "bad"),
    [
        ("commoncrawl-whirlwind.warc.gz", 4, 1, 0),
        ("commoncrawl-whirlwind.warc.wet.gz", 2, 1, 0),
        ("warcio-example.warc.gz", 6, 1, 0),
        ("warcio-example-wrong-chunks.warc.gz", 2, 1, 0),
        ("warcio-example-trunc.warc", 4, 0, 1),
        ("aut-issue-493.warc", 32, 3, 0),
    ],
)
def test_real_archives_are_read_record_by_record(read, name, records, documents, bad):
    found = read(SAMPLES / name)
    assert (len(found.documents), len(found.bad)) == (documents, bad)
    assert len(found.documents) + len(found.dropped) + len(found.bad) == records
