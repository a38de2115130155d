"""Windows over long texts: nothing is left out, nothing answered twice, everything where it has most context."""

from hypothesis import given
from hypothesis import strategies as st

from lathe.tasks.long_texts import windows_of

sizes = st.tuples(st.integers(0, 200), st.integers(1, 60), st.integers(0, 80))


@given(sizes)
def test_every_piece_is_answered_for_once_in_a_window_that_holds_it(size):
    length, room, overlap = size
    windows = windows_of(length, room, overlap)
    assert [place for window in windows for place in range(window.first, window.last)] == list(range(length))
    assert all(w.start <= w.first <= w.last <= w.stop <= length and w.stop - w.start <= room for w in windows)


@given(sizes)
def test_neighbours_share_what_was_asked_and_all_windows_are_full(size):
    length, room, overlap = size
    windows = windows_of(length, room, overlap)
    if len(windows) > 1:
        assert all(w.stop - w.start == room for w in windows)
        shared = [left.stop - right.start for left, right in zip(windows, windows[1:], strict=False)]
        assert min(shared) >= min(overlap, room // 2)


@given(sizes)
def test_no_other_window_has_more_context(size):
    length, room, overlap = size
    windows = windows_of(length, room, overlap)

    def context(window, place):
        """Pieces to the nearest edge that cuts the text."""
        left = place - window.start if window.start else length
        right = window.stop - 1 - place if window.stop < length else length
        return min(left, right)

    for own in windows:
        for place in range(own.first, own.last):
            others = [context(w, place) for w in windows if w.start <= place < w.stop]
            assert context(own, place) >= max(others) - 1


def test_a_text_that_fits_is_one_window():
    assert windows_of(5, 5, 2) == [(0, 5, 0, 5)]
    assert windows_of(0, 5, 2) == [(0, 0, 0, 0)]
