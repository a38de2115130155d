"""Drawings: scales, ticks, labels that do not cover each other, and values that can be read."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.charts import (
    PERCENT,
    PLAIN,
    WIDTH,
    Bar,
    Bubble,
    Circle,
    Columns,
    Reference,
    Scale,
    Series,
    apart,
    bubble_chart,
    column_chart,
    digits,
    heat_map,
    interval_bars,
    line_chart,
    log_ticks,
    marks,
    place_labels,
    ticks,
)

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


def texts(markup: str) -> list[str]:
    return [node.text for node in ElementTree.fromstring(markup).iter("text")]


def test_a_scale_maps_its_ends_to_its_places():
    assert [Scale(2, 4, 100, 0)(v) for v in (2, 3, 4)] == [100, 50, 0]
    assert [Scale(1, 100, 0, 10, is_log=True)(v) for v in (1, 10, 100)] == pytest.approx([0, 5, 10])


@given(numbers, st.floats(1e-3, 1e6))
def test_ticks_lie_inside_their_bounds_and_are_few(low, width):
    found = ticks(low, low + width)
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    assert 2 <= len(found) <= 14


def test_logarithmic_ticks():
    assert log_ticks(0.5, 12) == pytest.approx([0.5, 1, 2, 5, 10])
    assert log_ticks(0.5, 1200) == pytest.approx([1, 10, 100, 1000])


@given(st.floats(0, 1000), st.floats(0.001, 100))
def test_no_two_ticks_of_an_axis_read_the_same(low, width):
    words = [text for _, text in marks(Scale(low, low + width, 0, 1), PLAIN)]
    assert len(set(words)) == len(words)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_labels_move_apart_in_their_order(places):
    moved = apart(places, 16)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= 16 - 1e-6 for a, b in zip(order, order[1:], strict=False))
    assert len(places) > 1 or moved == places


def test_labels_of_neighbouring_circles_do_not_cover_each_other():
    circles = [Circle(300, 200, 20), Circle(305, 205, 12), Circle(290, 198, 8), Circle(620, 30, 9)]
    boxes = place_labels(["fine-tuned", "distilled", "distilled, int8", "not pretrained"], circles, 380)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.left >= 0 and box.right <= WIDTH for box in boxes)


@pytest.mark.parametrize(
    ("value", "words"), [(-0.5, "-0.5"), (99.96, "100"), (0.000123, "0.000123"), (1e6, "1,000,000")]
)
def test_three_digits_are_enough(value, words):
    assert digits(value) == words


def test_a_line_chart_names_its_curves_and_its_level():
    drawn = line_chart([Series("training", [(1, 9.0), (2, 4.0)])], "steps", "nats", [Reference("entropy", 6.05)])
    assert {"training", "entropy: 6.05", "steps", "nats"} <= set(texts(drawn))


def test_a_curve_of_one_point_can_be_drawn():
    assert "training" in texts(line_chart([Series("training", [(1, 2.0)])], "steps", "nats"))


def test_bars_say_their_value_and_their_interval():
    drawn = interval_bars([Bar("small", 0.812, 0.79, 0.83)], "accuracy", PERCENT)
    assert "81.2 %" in texts(drawn)
    assert "small: 81.2 %, interval 79.0 % to 83.0 %" in drawn


def test_a_bar_without_an_interval_has_no_whisker():
    drawn = interval_bars([Bar("small", 3.0), Bar("large", 5.0, 4.0, 6.0)], "documents")
    assert drawn.count("whisker") == 1
    assert "small: 3<" in drawn


def test_columns_stand_side_by_side_at_their_names_and_are_as_high_as_their_values():
    drawn = column_chart(["1", "2"], [Columns("before", [4, 2]), Columns("after", [0, 2])], "length", "documents")
    bars = re.findall(r'aria-label="([^"]+)"[^>]*><rect class="bar" x="([\d.]+)"[^>]* height="([\d.]+)"', drawn)
    assert [name for name, _, _ in bars] == ["before, 1: 4", "before, 2: 2", "after, 1: 0", "after, 2: 2"]
    heights = [float(height) for _, _, height in bars]
    assert heights == pytest.approx([heights[0], heights[0] / 2, 0, heights[0] / 2])
    assert sorted(float(x) for _, x, _ in bars) == [float(bars[i][1]) for i in (0, 2, 1, 3)]
    assert {"before", "after", "1", "2", "length", "documents"} <= set(texts(drawn))


def test_the_area_of_a_bubble_grows_with_its_size():
    bubbles = [Bubble("a", 1, 0.5, 1.0, "tip"), Bubble("b", 2, 0.6, 4.0, "tip"), Bubble("c", 3, 0.7, 0.0, "tip")]
    radii = sorted(float(r) for r in re.findall(r' r="([\d.]+)"', bubble_chart(bubbles, "ms", "accuracy", PERCENT)))
    assert radii == [4, 15, 26]


def test_a_heat_map_has_every_count_and_shades_by_row():
    drawn = heat_map(["a", "b"], np.array([[9, 1], [0, 2]]))
    assert re.findall(r'<td class="(h\d)"><span title="([^"]+)">([^<]+)<', drawn) == [
        ("h6", "a taken for a: 9 of 10", "9"),
        ("h1", "a taken for b: 1 of 10", "1"),
        ("h0", "b taken for a: 0 of 2", "·"),
        ("h6", "b taken for b: 2 of 2", "2"),
    ]


def test_names_in_drawings_are_text():
    name = "<b> & co"
    for drawn in (
        line_chart([Series(name, [(1, 1), (2, 2)])], name, name, [Reference(name, 1)]),
        interval_bars([Bar(name, 1, 1, 1)], name),
        bubble_chart([Bubble(name, 1, 1, 1, name)], name, name),
        column_chart([name], [Columns(name, [1])], name, name),
    ):
        assert any(name in words for words in texts(drawn))
