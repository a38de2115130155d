"""Files of every format become documents by their content; what is wrong with them is quarantined where it stands."""

import bz2
import gzip
import importlib
import io
import json
import lzma
import random
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lathe.core.data import Bad
from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import parse
from lathe.corpus.files import Files
from lathe.corpus.readers import Options, parts_of, read_file, read_part
from lathe.corpus.readers.detect import detect_format

PACK = {"gz": gzip.compress, "zst": zstandard.compress, "bz2": bz2.compress, "xz": lzma.compress}
CHINESE = "我们的国家在这个时候有很多人来到中国学习\n他说这是一个可以让大家都高兴的好消息\n"
TRADITIONAL = "我們的國家在這個時候有很多人來到中國學習\n他說這是一個可以讓大家都高興的好消息\n"

FORMATS = {
    "text": "Just a line, with a comma.\nAnother, too.\n",
    "markdown": "---\ntitle: T\n---\n\n# Title\n\nText.\n",
    "html": "<!-- x -->\n<!DOCTYPE html>\n<html><body><p>x</p></body></html>",
    "jsonl": '{"text": "a"}\n{"text": "b"}\n',
    "csv": "id,text\n1,a b\n2,c d\n",
    "tsv": "id\ttext\n1\ta b\n2\tc d\n",
    "wikipedia": '<mediawiki xmlns="x" xml:lang="en">\n</mediawiki>',
    "warc": "WARC/1.0\r\nWARC-Type: warcinfo\r\n",
}


def tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(("format", "content"), FORMATS.items(), ids=FORMATS)
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_format_is_known_by_its_content(format, content, codec):
    if format != "warc":
        assert detect_format(content.encode(codec), "no-suffix") == format


@pytest.mark.parametrize("name", ["poem.txt", "poem"])
def test_text_with_commas_is_no_table(name):
    poem = b"roses are red, violets are blue\nsugar is sweet, and so are you\nthe text, the end\n"
    assert detect_format(poem, name) == "text"


@pytest.mark.parametrize("pack", PACK)
def test_files_are_decompressed_by_content_also_twice(read, pack):
    content = b'{"text": "a"}\n{"text": "b"}\n'
    assert read(PACK[pack](content), "a.txt").texts == ["a", "b"]
    assert read(gzip.compress(PACK[pack](content))).texts == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        (CHINESE, "utf-8", "UTF-8"),
        (CHINESE, "utf-8-sig", "UTF-8"),
        (CHINESE, "gb18030", "GB18030"),
        (TRADITIONAL, "gb18030", "GB18030"),
        (TRADITIONAL, "big5", "Big5"),
        (CHINESE, "utf-16", "UTF-16LE"),
        (CHINESE, "utf-16-le", "UTF-16LE"),
        (CHINESE, "utf-16-be", "UTF-16BE"),
        ("plain English\nin two lines\n", "utf-16-le", "UTF-16LE"),
    ],
)
@pytest.mark.parametrize("ascii", [0, 3, 12_000])
def test_encodings_are_told_apart_wherever_the_first_chinese_stands(read, text, codec, name, ascii):
    text = "an English line, as any\n" * ascii + text
    found = read(text.encode(codec), "a.txt")
    assert found.texts == text.splitlines()
    assert found.noted == {name: 1}
    assert not found.bad


def test_an_encoding_that_is_not_clear_is_quarantined_with_its_readings(read):
    found = read("很好\nplain\n".encode("gb18030"), "a.txt")
    assert found.texts == ["plain"]
    assert "in GB18030 it reads '很好'" in found.bad[0].fix and "in Big5" in found.bad[0].fix
    assert found.noted == {"unclear": 1}
    assert read("很好\n".encode("gb18030"), "a.txt", codec="gb18030").texts == ["很好"]


def test_lines_of_utf8_in_a_gb18030_file_are_quarantined(read):
    content = CHINESE.encode("gb18030") * 20 + "联通\n".encode("gb18030") + CHINESE.encode()
    found = read(content, "a.txt")
    assert found.texts == [*CHINESE.splitlines() * 20, "联通"]
    assert [bad.line for bad in found.bad] == [42, 43]
    assert found.bad[0].offset == content.index(CHINESE.encode())


def test_korean_japanese_and_latin_texts_are_not_taken_for_chinese(read):
    for text, codec in [
        ("한국어 텍스트는 이렇게 생겼습니다. 오늘 날씨가 매우 좋습니다.\n" * 9, "euc_kr"),
        ("これは日本語の文章です。今日は天気がとても良いので公園に行きました。\n" * 9, "euc_jp"),
        ("Voilà une phrase en français, passée à la campagne, où tout va très bien.\n" * 9, "cp1252"),
    ]:
        assert read(text.encode(codec), "a.txt").noted == {"unclear": 1}
        assert read(text.encode(codec), "a.txt", codec=codec).texts == text.splitlines()


def test_rows_keep_where_they_are_from(read):
    row = {"text": "x y", "url": "http://a", "timestamp": "2024", "lang": "en", "n": 1}
    found = read(json.dumps(row).encode() + b'\n{"text": ""}\n')
    assert found.documents[0].meta == {"url": "http://a", "date": "2024", "language": "en"}
    assert [(bad.line, bad.offset) for bad in found.bad] == [(2, 78)]


def test_the_column_of_the_text_is_looked_for_beyond_the_first_row(read):
    rows = b'{"label": "x"}\n' + b'{"label": "x", "text": "a"}\n' * 3
    found = read(rows)
    assert found.texts == ["a"] * 3
    assert found.bad[0].line == 1


def test_a_column_that_the_user_names_has_to_be_there(read):
    with pytest.raises(DataError, match="source.text: no column 'body'"):
        read(b'{"text": "a"}\n', text="body")


def test_markdown_is_one_document_without_its_front_matter(read):
    found = read(b"---\ntitle: 'On x'\ntags: [a]\n---\n# X\n\n- a *b*\n", "x.md")
    assert found.texts == ["# X\n\n- a *b*\n"]
    assert found.documents[0].meta == {"title": "On x"}
    assert read(b"---\ntitle: x\n---\n", "y.md").reasons == ["front matter only"]


def test_parquet_rows_are_documents(read, tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["好", None], "url": ["u", "v"]}), tmp_path / "a.bin")
    found = read(tmp_path / "a.bin")
    assert found.texts == ["好"] and found.documents[0].meta == {"url": "u"}
    assert [bad.line for bad in found.bad] == [2]
    content = (tmp_path / "a.bin").read_bytes()
    assert "Parquet" in read(content[:-9] + b"x" * 9, "b").bad[0].reason
    assert "both ends" in read(gzip.compress(content), "c").bad[0].fix


def test_openwebtext_is_read_through_its_archives(read, tmp_path):
    subsets = {
        f"openwebtext/urlsf_subset0{n}_data.xz": lzma.compress(
            tar(**{f"{n}-{m}.txt": f"Text {n} {m}\n\nMore".encode() for m in range(3)})
        )
        for n in range(2)
    }
    found = read(lzma.compress(tar(**subsets)), "openwebtext.tar.xz", cut="file")
    assert found.texts == [f"Text {n} {m}\nMore" for n in range(2) for m in range(3)]
    assert found.documents[0].id == "openwebtext.tar.xz!openwebtext/urlsf_subset00_data.xz!0-0.txt:1"
    assert [file.name for file in tmp_path.iterdir()] == ["openwebtext.tar.xz"]


def test_bookcorpus_is_read_as_runs_of_sentences(read):
    books = tar(**{"books_large_p1.txt": b"one .\ntwo .\n\nthree .\n", "books_large_p2.txt": b"a .\n" * 1000})
    found = read(bz2.compress(books), "bookcorpus.tar.bz2", cut="sentences")
    assert [text.count("\n") + 1 for text in found.texts] == [2, 1, 512, 488]


def test_a_broken_member_costs_no_other(read):
    content = tar(**{"a.txt": b"one", "b.gz": gzip.compress(b"x" * 999)[:-5], "c.txt": b"three", "d.png": b"\x89PNG\0"})
    found = read(content)
    assert found.texts == ["one", "three"]
    assert [bad.file.rpartition("!")[2] for bad in found.bad] == ["b.gz", "d.png"]
    header = content.index(b"c.txt")
    found = read(content[:header] + b"\xff" + content[header + 1 :])
    assert found.texts == ["one"] and "damaged after member 2" in found.bad[1].reason
    assert "ends early" in read(content[: header + 600]).bad[-1].reason


def test_archives_in_archives_have_an_end(read):
    content = b"text"
    for _ in range(9):
        content = tar(**{"a": gzip.compress(content)})
    assert "packed more than" in read(content).bad[0].reason


def test_bombs_are_refused_in_bounded_memory(read, monkeypatch):
    monkeypatch.setattr("lathe.core.data.source.BOMB_BYTES", 2**22)
    for pack in ("zst", "bz2", "xz"):
        found = read(PACK[pack](b"a" * 2**25), f"{pack}.txt")
        assert not found.documents and "no text does" in found.bad[0].reason


def test_a_line_that_is_too_long_is_quarantined_and_costs_no_other(read, monkeypatch):
    monkeypatch.setattr("lathe.core.data.source.MAX_LINE_BYTES", 2**20)
    for codec in ("utf-8", "utf-16-le"):
        content = ("one\n" + "x" * 2**21 + "\nthree\n").encode(codec)
        found = read(content, "a.txt", codec=codec)
        assert found.texts == ["one", "three"]
        assert (found.bad[0].line, found.bad[0].offset) == (2, len("one\n".encode(codec)))
        assert len(found.bad[0].value) <= 1000


def test_a_document_of_several_lines_is_bounded(read, monkeypatch):
    monkeypatch.setattr("lathe.corpus.readers.text.LONGEST_DOCUMENT", 100)
    found = read(b"a\nb\n\n" + b"long line\n" * 20 + b"\nc\n", "a.txt", cut="paragraph")
    assert found.texts == ["a\nb", "c"]
    assert (found.bad[0].line, found.bad[0].offset) == (4, 5)


@pytest.mark.parametrize("codec", ["utf-8", "gb18030"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_the_parts_of_a_large_file_have_what_the_file_has(tmp_path, name, codec, monkeypatch):
    monkeypatch.setattr("lathe.core.data.source.CHUNK_BYTES", 512)
    texts = [*["only English"] * 500, *CHINESE.splitlines() * 40, ""]
    rows = texts if name == "a.txt" else [json.dumps({"x": "y", "text": t}, ensure_ascii=False) for t in texts]
    file = tmp_path / name
    lines = [row.encode(codec) for row in rows]
    lines[7] = b'{"text": \xff\xff'
    file.write_bytes(b"\n".join(lines) + b"\n")
    whole = list(read_file(file, name, Options()))
    parts = parts_of(file, name, Options(), 1000)
    assert len(parts) > 5
    found = [item for part in parts for item in read_part(file, name, part)]
    assert any(isinstance(item, Bad) for item in found)
    assert sorted(map(repr, found)) == sorted(map(repr, whole))


def test_an_unknown_encoding_is_an_error_of_the_recipe():
    with pytest.raises(RecipeError, match="'klingon' cannot be read"):
        parse(Files, {"paths": ["x"], "encoding": "klingon"})


def test_every_tenth_of_a_thousand_broken_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    modules = [importlib.import_module(name) for name in ("broken", "common", "bench_broken")]
    try:
        wrong = {file.name: modules[2].judge(file, tmp_path) for file in modules[0].broken_files(100, seed=1)}
    finally:
        for module in modules:
            del sys.modules[module.__name__]
    assert len(wrong) == 100 and not any(wrong.values())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*(text.encode() for text in FORMATS.values()), tar(a=b"x\n"), gzip.compress(b"x\ny\n"), b""]),
    st.binary(max_size=60),
    st.floats(0, 1),
)
def test_no_bytes_crash_a_reader(tmp_path, content, damage, place):
    at = int(len(content) * place)
    file = tmp_path / "a"
    file.write_bytes(content[:at] + damage + content[at + len(damage) :])
    pytest.importorskip("resiliparse")
    for item in read_file(file, "a", Options()):
        json.dumps(getattr(item, "text", "")).encode()


def members(pack: str, lines: list[str], broken: int) -> bytes:
    """Streams of one line each, one behind the other; a byte in the middle of one of them is changed."""
    compress = zstandard.ZstdCompressor(write_checksum=True).compress if pack == "zst" else PACK[pack]
    streams = [bytearray(compress(f"{line}\n".encode())) for line in lines]
    streams[broken][len(streams[broken]) // 2] ^= 0xFF
    return b"".join(streams)


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("broken", [0, 7, 18])
def test_the_streams_behind_a_damaged_one_are_read(read, pack: str, broken: int):
    lines = [f"line {n} " + "".join(random.Random(n).choices("abcdefghij", k=300)) for n in range(20)]
    found = read(members(pack, lines, broken), "a.txt")
    lost = {lines[broken], lines[broken + 1]}  # the next one may begin inside the damaged part
    assert [text for text in found.texts if text in lines] == [line for line in lines if line not in lost]
    (damage,) = [bad for bad in found.bad if bad.line == 0]
    assert "data is damaged" in damage.reason and "what follows is read" in damage.reason
    assert lines[broken + 1] in {bad.value.strip("\0") for bad in found.bad if bad.reason == "a NUL character"}
