"""Pages that stand alone: no script, nothing fetched, every text escaped, light and dark, on a phone and on paper.

>>> scores = table([Column("model"), Column("accuracy", "end")], [["small", "81 %"]])
>>> page("Scores", [Section("Result", ["Text where 1 < 2.", scores])])[:15]
'<!doctype html>'
"""

import base64
import hashlib
import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Literal, NamedTuple, TypeAlias

Attributes: TypeAlias = Mapping[str, str | int | float]


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>{main}</body>
</html>
"""


class Html(str):
    """Markup. A plain ``str`` is text: it is escaped wherever it is put."""

    __slots__ = ()


class Section(NamedTuple):
    heading: str
    content: Sequence[str]  # a plain string becomes a paragraph


class Column(NamedTuple):
    name: str
    align: Literal["start", "end"] = "start"  # numbers stand at the end


def page(title: str, sections: Sequence[Section], lead: str = "") -> str:
    """A whole document; ``lead`` is the one sentence that most readers want."""
    style = files("lathe.core").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    body = [element("h1", {}, title)] + ([element("p", {"class": "lead"}, lead)] if lead else [])
    body += [element("section", {}, element("h2", {}, s.heading), *map(block, s.content)) for s in sections]
    return PAGE.format(title=join([title]), digest=digest, style=style, main=element("main", {}, *body))


def element(name: str, attributes: Attributes, *content: str) -> Html:
    """One element that is not void.

    >>> element("b", {"class": "x"}, "1 < 2", Html("<i></i>"))
    '<b class="x">1 &lt; 2<i></i></b>'
    """
    written = "".join(f' {key}="{html.escape(_number(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def join(parts: Iterable[str]) -> Html:
    """Pieces of markup and text as one piece of markup."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part, quote=False) for part in parts))


def block(content: str) -> Html:
    """Markup as it is, text as a paragraph."""
    return content if isinstance(content, Html) else element("p", {}, content)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], strong: Collection[int] = ()) -> Html:
    """A table whose first column names the row; ``strong``: numbers of the rows to stress."""
    head = [element("th", {"scope": "col", "class": column.align}, column.name) for column in columns]
    body = []
    for number, row in enumerate(rows):
        first, *rest = zip(columns, row, strict=True)
        cells = [element("th", {"scope": "row"}, first[1])]
        cells += [element("td", {"class": column.align}, cell) for column, cell in rest]
        body.append(element("tr", {"class": "strong"} if number in strong else {}, *cells))
    inner = element("table", {}, element("thead", {}, element("tr", {}, *head)), element("tbody", {}, *body))
    return scrolling(inner, ", ".join(column.name for column in columns))


def scrolling(content: Html, label: str) -> Html:
    """Content that may be wider than the screen; the keyboard reaches it too."""
    return element("div", {"class": "scroll", "tabindex": 0, "role": "region", "aria-label": label}, content)


def figure(drawing: Html, caption: str) -> Html:
    return element("figure", {}, drawing, element("figcaption", {}, caption))


def bullets(items: Iterable[str]) -> Html:
    return element("ul", {}, *(element("li", {}, item) for item in items))


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names and values."""
    return element(
        "dl", {}, *(part for name, value in pairs for part in (element("dt", {}, name), element("dd", {}, value)))
    )


def code(text: str) -> Html:
    """Lines to be read or copied as they are."""
    return element("pre", {"tabindex": 0}, element("code", {}, text))


def details(summary: str, *content: str) -> Html:
    """Content that is unfolded by the reader."""
    return element("details", {}, element("summary", {}, summary), *map(block, content))


def _number(value: str | int | float) -> str:
    """Coordinates with the digits that can be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
