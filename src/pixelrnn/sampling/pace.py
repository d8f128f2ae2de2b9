"""How many pixels a walk guesses ahead: chosen from the duration of its passes and how often its guesses are right."""

from __future__ import annotations

from collections import deque

import numpy as np

_WIDTHS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024])


class Pace:
    """Estimates two things, pass by pass, for a model on a machine, and chooses the width of the next span from them.

    * The duration of a pass: a + b w + c w n seconds for a span of w pixels in n images. Overhead is in a, a
      recurrence that goes pixel by pixel in b, arithmetic in c.
    * The probability q that a guess is right, assumed equal at every position. Then a pass over m guessed positions
      settles (1 - q^m) / (1 - q) of them on average, including the first wrong one.

    The width that settles the most positions per second is chosen. Widths affect how long a walk takes, never its
    images. The estimates are updated only every few passes, so that choosing costs little compared with a pass.

    >>> pace = Pace()
    >>> for width in (1, 8, 16):  # a pass takes as long for one pixel as for many, and guesses are often right
    ...     pace.time(width, images=1, seconds=0.001)
    ...     pace.learn(settled=width, wrong=0)
    >>> pace.width(np.array([0]), left=28, images=1, groups=1)
    28
    """

    def __init__(self) -> None:
        self._passes: deque[tuple[float, float, float]] = deque(maxlen=32)  # width, images, seconds
        self._terms = np.array([1.0, 0.0, 0.0])  # a, b, c
        self._settled, self._wrong = 2.0, 0.05
        self._count = 0
        self._chosen: dict[tuple[bytes, int, int], int] = {}  # since the terms were last fitted

    def width(self, ahead: np.ndarray, left: int, images: int, groups: int) -> int:
        """The next span's width.

        Arguments:
            ahead   columns by which each unfinished image is ahead of the span's first column
            left    columns left in the row
            images  number of images that are computed, finished or not
            groups  positions per column: colours that are chosen one after the other
        """
        key = (ahead.tobytes(), images, groups)
        if key not in self._chosen:
            stays = min(1.0 - self._wrong / self._settled, 1 - 1e-6)
            guessed = np.maximum(_WIDTHS[:, None] - ahead, 0) * groups
            settled = ((1 - stays**guessed) / (1 - stays)).sum(1)
            a, b, c = self._terms
            self._chosen[key] = int(_WIDTHS[(settled / (a + b * _WIDTHS + c * _WIDTHS * images)).argmax()])
        return min(self._chosen[key], left)

    def learn(self, settled: int, wrong: int) -> None:
        """Record a pass: how many positions it settled, and how many of these had been guessed wrong."""
        self._settled = 0.95 * self._settled + settled
        self._wrong = 0.95 * self._wrong + wrong

    def time(self, width: int, images: int, seconds: float) -> None:
        """Record the duration of a pass."""
        if not self._passes:  # assume that one pixel takes half as long, so that the next span is not too wide
            self._passes.append((1.0, images, seconds / 2))
        self._passes.append((width, images, seconds))
        self._count += 1
        if self._count < 8 or self._count % 16 == 0:
            self._terms = _fit(np.array(self._passes))
            self._chosen.clear()


def _fit(passes: np.ndarray) -> np.ndarray:
    """The non-negative a, b and c that minimise the squared relative errors of a + b w + c w n."""
    width, images, seconds = passes.T
    columns = np.stack([np.ones_like(width), width, width * images], 1) / seconds[:, None]
    size = np.linalg.norm(columns, axis=0)
    used = [0, 1, 2]
    while True:
        found = np.linalg.lstsq(columns[:, used] / size[used], np.ones(len(passes)), rcond=1e-6)[0]
        if found.min() >= 0 or len(used) == 1:
            break
        used.pop(int(found.argmin()))
    terms = np.zeros(3)
    terms[used] = np.maximum(found, 0) / size[used]
    return terms
