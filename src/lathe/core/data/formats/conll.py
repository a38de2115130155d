"""CoNLL files: a token a line with its tags behind it, a blank line behind each sentence.

The tokens are the first column and the tags the last one, as in the shared tasks of 2000, 2002 and 2003; what is
between them keeps its place as ``column2``, ``column3`` ...
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from lathe.core.data.records import Bad, Record, RowError, decode_line
from lathe.core.data.source import Line, Source
from lathe.core.tagging import Tag, parse_tag

DOCUMENT = "-DOCSTART-"
LOOK_AHEAD = 1000  # sentences, to know the scheme of the tags and the number of columns
LONGEST = 100_000  # tokens of a sentence; a file with longer ones has lost its blank lines
SNIFFED = 200  # lines
_OUTSIDE = Tag("O", "")


class Sentence(NamedTuple):
    """The lines of one sentence, apart in columns; or what is wrong with one of them."""

    rows: list[tuple[int, list[str]]]  # number and columns of each line
    offset: int  # of its first byte
    fault: tuple[int, RowError] | None  # the first bad line

    @property
    def tags(self) -> list[str]:
        return [columns[-1] for _, columns in self.rows]


def is_conll(head: str) -> bool:
    """Whether a text begins with tokens that have a tag each."""
    lines = [_columns(line) for line in head.splitlines()[:SNIFFED] if line.strip() and not line.startswith(DOCUMENT)]
    tags = [parse_tag(columns[-1]) for columns in lines[:-1] or lines]  # the last line may be cut
    widths = {len(columns) for columns in lines[:-1] or lines}
    return len(widths) == 1 and min(widths) > 1 and None not in tags and any(tag != _OUTSIDE for tag in tags)


def conll_rows(source: Source, lines: Iterable[Line]) -> Iterator[Record | Bad]:
    """A row ``{tokens, tags}`` for each sentence, ``{tokens}`` where there are no tags.

    A sentence whose tags break the rules of their scheme is bad, at the line where they do. The scheme is that of the
    file: an entity that opens with ``I-`` is right in IOB1 and wrong in BIO.
    """
    sentences = _sentences(lines)
    head = list(islice(sentences, LOOK_AHEAD))
    good = [one for one in head if not one.fault]
    widths = [len(columns) for one in good for _, columns in one.rows]
    width = max(set(widths), key=widths.count, default=0)
    scheme = _scheme([[_parsed(tag) for tag in one.tags] for one in good]) if width > 1 else None
    for sentence in chain(head, sentences):
        fault = sentence.fault or _fault(sentence, width, scheme)
        if fault:
            yield fault[1].at(source.path, fault[0], sentence.offset)
        else:
            yield Record(sentence.rows[0][0], _row(sentence, width), sentence.offset)


def _sentences(lines: Iterable[Line]) -> Iterator[Sentence]:
    sentence = Sentence([], 0, None)
    for line in lines:
        if line.raw.strip(b" \t") and not line.raw.startswith(DOCUMENT.encode()):
            sentence = _longer(sentence, line)
        elif sentence.rows or sentence.fault:
            yield sentence
            sentence = Sentence([], 0, None)
    if sentence.rows or sentence.fault:
        yield sentence


def _longer(sentence: Sentence, line: Line) -> Sentence:
    """The sentence with one more line, or with what is wrong with it."""
    if sentence.fault:
        return sentence
    offset = sentence.offset if sentence.rows else line.offset
    try:
        columns = _columns(decode_line(line))
        if not sentence.rows and columns[0].startswith("#") and parse_tag(columns[-1]) is None:
            return sentence  # MultiCoNER and others name their sentences so
        if len(sentence.rows) == LONGEST:
            reason, way = f"a sentence of more than {LONGEST:,} tokens", "write a blank line behind each sentence"
            raise RowError(None, columns[0], reason, way)
    except RowError as error:
        return Sentence([], offset, (line.number, error))
    sentence.rows.append((line.number, columns))
    return sentence._replace(offset=offset)


def _columns(line: str) -> list[str]:
    """A token may be a space of another kind, such as the ideographic one: only ASCII's parts columns."""
    return line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]


def _row(sentence: Sentence, width: int) -> dict[str, list[str]]:
    columns = [list(column) for column in zip(*(columns for _, columns in sentence.rows), strict=True)]
    between = {f"column{number}": column for number, column in enumerate(columns[1:-1], 2)}
    return {"tokens": columns[0]} | ({"tags": columns[-1]} if width > 1 else {}) | between


# ------------------------------------------------------------------------------------------------------------ schemes
def _scheme(sentences: Sequence[Sequence[Tag]]) -> str:
    """BIOES where it has tags of its own; IOB1 where entities open with ``I-`` and ``B-`` only parts neighbours."""
    pairs = [pair for tags in sentences for pair in zip([_OUTSIDE, *tags], tags, strict=False)]
    if any(tag.prefix in "ES" for _, tag in pairs):
        return "BIOES"
    opens = any(tag.prefix == "I" and before.label != tag.label for before, tag in pairs)
    needless = any(tag.prefix == "B" and before.label != tag.label for before, tag in pairs)
    return "IOB1" if opens and not needless else "BIO"


def _fault(sentence: Sentence, width: int, scheme: str | None) -> tuple[int, RowError] | None:
    for number, columns in sentence.rows:
        if len(columns) != width:
            reason = f"{len(columns)} columns, the others have {width}"
            fix = "write the token and its tag, and a blank line between sentences"
            return number, RowError(None, " ".join(columns), reason, fix)
        if scheme and parse_tag(columns[-1]) is None:
            return number, RowError("tags", columns[-1], "a tag of no known scheme", "write O, or B- or I- and a label")
    tags = [_parsed(tag) for tag in sentence.tags] if scheme else []
    for place, (before, tag) in enumerate(zip([_OUTSIDE, *tags], [*tags, _OUTSIDE], strict=True)):
        if breach := _breach(before, tag, scheme):
            number, columns = sentence.rows[min(place, len(tags) - 1)]
            return number, RowError("tags", columns[-1], *breach)
    return None


def _breach(before: Tag, tag: Tag, scheme: str | None) -> tuple[str, str] | None:
    """What is wrong with a tag behind another, and the way out."""
    is_open = before.prefix in "BI" and before.label == tag.label
    if scheme in ("BIO", "BIOES") and tag.prefix in "IE" and not is_open:
        behind = "O" if before == _OUTSIDE else f"{before.prefix}-{before.label}"
        single = f", or S-{tag.label} for an entity of one token" if scheme == "BIOES" else ""
        reason = f"{tag.prefix}-{tag.label} behind {behind} goes on with no entity (the scheme of the file is {scheme})"
        return reason, f"write B-{tag.label}{single}"
    if scheme == "BIOES" and before.prefix in "BI" and tag.prefix not in "IE":
        reason = f"the entity {before.label} before it is not ended (the scheme of the file is BIOES)"
        return reason, f"end it with E-{before.label}"
    return None


def _parsed(tag: str) -> Tag:
    return parse_tag(tag) or _OUTSIDE
