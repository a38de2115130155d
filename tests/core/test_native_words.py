"""Words in C: equal to their definitions in Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core import native
from lathe.core.native import words as module
from lathe.core.native.words import LETTER, MARK, Frequent, repeats, tally

needs_library = pytest.mark.skipif(native.library() is None, reason=f"no compiled operations: {native.missing()}")
WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ba", "好", "é", "x\0", ".", "\ud800", "𝪈𝪈", "the"]), max_size=60)


@pytest.fixture(scope="module")
def kinds():
    kinds = np.zeros(0x110000, np.uint8)
    kinds[[ord(character) for character in "ab好éxthe"]] = LETTER
    kinds[[0, ord("."), 0x1DA88]] = MARK
    return kinds


@needs_library
@given(WORDS)
def test_repeats_in_c_equal_their_definition(words):
    text = " ".join(words)
    for asked in (((2, 3, 4), (5, 6, 7, 8, 9, 10)), ((3,), (2, 3)), ((), ()), ((70,), (70,))):
        assert repeats(text, *asked) == module._repeats(text, *asked)


@needs_library
@given(words=WORDS)
def test_the_tally_in_c_equals_its_definition(kinds, words):
    assert tally(" ".join(words), kinds) == module._tally(" ".join(words), kinds)


def test_without_a_compiler_it_is_python(monkeypatch, kinds):
    monkeypatch.setattr(module, "library", lambda: None)
    assert tally("ab . 1", kinds) == (3, 2, 3, 1)
    assert repeats("a b a b a", (2,), (2,)) == ({2: Frequent(2, 2)}, {2: 2})


@pytest.mark.parametrize("compiled", [native.library(), None], ids=["c", "python"])
def test_repeats(compiled, monkeypatch):
    monkeypatch.setattr(module, "library", lambda: compiled)
    assert repeats("", (2,), (2,)) == ({2: Frequent(0, 0)}, {2: 0})
    assert repeats("only once", (2,), (2,)) == ({2: Frequent(1, 8)}, {2: 0})
    assert repeats("x y x y z w z w", (2,), ()).frequent == {2: Frequent(2, 2)}  # of two, the first
    assert repeats("a bc ab c", (), (2,)).repeated == {2: 3}  # "abc" twice, however it is parted
    assert repeats("a a a a a", (), (2,)).repeated == {2: 4}  # the third and fourth word, skipped as a whole
