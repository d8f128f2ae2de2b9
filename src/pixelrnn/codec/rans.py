"""An entropy coder: range asymmetric numeral systems (rANS), with a state of 64 bits and words of 32 bits.

What is coded are intervals: a symbol owns `size` of the 2^24 numbers from `start` on, and costs log2(2^24 / size) bits.
The coder is a stack, so symbols are encoded from the last to the first, and decoded from the first on.

Source: Duda, Asymmetric Numeral Systems, 2013, arXiv 1311.2540
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pixelrnn.errors import CodecError
from pixelrnn.exact.tables import TOTAL_BITS

LOW = 1 << 31
"""The state is at least that between two symbols, and below 2^63."""
_SLOT = (1 << TOTAL_BITS) - 1
_WORD = (1 << 32) - 1


def encode(starts: Iterable[int], sizes: Iterable[int]) -> bytes:
    """The bytes for symbols, given in the order in which they are decoded: eight for the state, four for each word.

    >>> stream = Stream(encode([0, 1 << 23], [1 << 23, 1 << 22]))  # the first half; the third quarter
    >>> first = stream.slot() < 1 << 23
    >>> stream.take(0, 1 << 23)
    >>> first, 1 << 23 <= stream.slot() < 3 << 22
    (True, True)
    """
    state, words = LOW, []
    for start, size in zip(reversed(list(starts)), reversed(list(sizes)), strict=True):
        if state >= size << 63 - TOTAL_BITS:
            words.append(state & _WORD)
            state >>= 32
        quotient, rest = divmod(state, size)
        state = (quotient << TOTAL_BITS) + rest + start
    return struct.pack(f"<Q{len(words)}I", state, *reversed(words))


class Stream:
    """A stream that is decoded symbol by symbol: look at `slot`, find the symbol that owns it, `take` its interval.

    Raises: CodecError if the stream is too short to be one
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < 8 or len(data) % 4:
            raise CodecError(f"A stream has 8 bytes or more, in steps of 4, but this one has {len(data)}.")
        self._state, *self._words = struct.unpack(f"<Q{len(data) // 4 - 2}I", data)
        self._words.reverse()
        if not LOW <= self._state < LOW << 32:
            raise CodecError("A stream begins with a state that no encoder leaves.")

    def slot(self) -> int:
        """A number from 0 to 2^24 - 1, in the interval of the next symbol."""
        return self._state & _SLOT

    def take(self, start: int, size: int) -> None:
        """Go on behind the symbol that owns `slot`.

        Raises: CodecError if the stream ends here
        """
        state = size * (self._state >> TOTAL_BITS) + (self._state & _SLOT) - start
        if state < LOW:
            if not self._words:
                raise CodecError("A stream ends before its last symbol.")
            state = state << 32 | self._words.pop()
        self._state = state

    def check_end(self) -> None:
        """Raises CodecError unless every symbol was taken that was encoded: the state is what encoding began with."""
        if self._words or self._state != LOW:
            raise CodecError("A stream goes on behind its last symbol.")
