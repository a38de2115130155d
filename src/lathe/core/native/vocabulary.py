"""Words of texts as numbers, in C (`vocabulary.c`); ask `library` first whether there is any."""

import ctypes
from collections.abc import Sequence

import numpy as np

from lathe.core.errors import DataError
from lathe.core.native.arrays import Array, at, call
from lathe.core.native.calls import operations

FIRST = 3
"""The number of the first word; 0 is an unknown word, 1 begins a text, 2 ends it."""
_PADDING = bytes(8)
_SLOT = np.dtype([("hash", np.uint64), ("name", np.uint32), ("word", np.int32)])
_SLOTS = 1 << 15


class WordTable:
    """Numbers of words, in the order in which they come."""

    def __init__(self) -> None:
        self._names, self._slots = np.empty(1 << 16, np.uint8), np.zeros(_SLOTS, _SLOT)
        self._named = self._known = 0

    def read(self, texts: Sequence[str], learns: bool) -> Array:
        """The words of some texts, which stand between white space; new ones are unknown, or learnt.  [L] int32

        Texts may be read in several threads where nothing is learnt.
        """
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)) + 1)
        content = b" ".join((*parts, _PADDING))
        if learns:
            self._make_room(len(content))
        stream = np.empty(len(content) // 2 + 3 * len(parts), np.int32)
        reading = _Reading(text=content, ends=at(ends), texts=len(parts), stream=at(stream), learns=learns)
        while True:
            reading.names, reading.named, reading.known = at(self._names), self._named, self._known
            reading.slots, reading.size = at(self._slots), len(self._slots)
            call("read_words", reading)
            if learns:
                self._named, self._known = reading.named, reading.known
            if reading.done == len(parts):
                return stream[: reading.written]
            self._grow()

    @property
    def words(self) -> list[str]:
        """All that is known, by number from `FIRST` on."""
        return self._names[: self._named].tobytes().decode("utf-8", "surrogatepass").split()

    def _make_room(self, more: int) -> None:
        """For the letters of new words; each has a space behind it."""
        needed = self._named + 2 * more
        if needed >= 1 << 32:
            raise DataError(
                "the text has too many different words: their letters fill 4 GiB; cut it, or use characters"
            )
        if len(self._names) < needed:
            self._names = np.concatenate([self._names[: self._named], np.empty(2 * needed - self._named, np.uint8)])

    def _grow(self) -> None:
        larger, size = np.zeros(4 * len(self._slots), _SLOT), ctypes.c_int64
        operations().move_words(at(self._slots), size(len(self._slots)), at(larger), size(len(larger)))
        self._slots = larger


class _Reading(ctypes.Structure):
    """`reading` in vocabulary.c."""

    _fields_ = (
        ("text", ctypes.c_char_p),
        ("ends", ctypes.c_void_p),
        ("texts", ctypes.c_int64),
        ("done", ctypes.c_int64),
        ("stream", ctypes.c_void_p),
        ("written", ctypes.c_int64),
        ("names", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("named", "known", "learns")),
        ("slots", ctypes.c_void_p),
        ("size", ctypes.c_int64),
    )
