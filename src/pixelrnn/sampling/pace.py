"""How many pixels a walk looks ahead: chosen from what its passes took and from how often its guesses were right."""

from __future__ import annotations

from collections import deque

import numpy as np

_WIDTHS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024])


class Pace:
    """Learns two things of a model on a machine, pass by pass, and chooses the width of the next span from them.

    * What a pass takes: a + b w + c w n seconds for a span of w pixels in n images. Small operations are bound by a,
      a recurrence that goes pixel by pixel by b, arithmetic by c.
    * How probable it is that a guess is wrong, at every position alike. Then out of m guessed positions
      (1 - q^m) / (1 - q) are settled by a pass, the first wrong one included.

    The width with the most settled positions per second is taken. Widths change how long a walk takes, never its
    images. What was learnt counts from the next of every few passes on, so that choosing costs little beside a pass.

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
        self._chosen: dict[tuple[bytes, int, int], int] = {}  # since the terms were fitted last

    def width(self, ahead: np.ndarray, left: int, images: int, groups: int) -> int:
        """The next span's width.

        Arguments:
            ahead   columns by which each image that is not finished is ahead of the span's first
            left    columns up to the end of the row
            images  that are computed, finished or not
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
        """A pass settled this many positions, of which so many had been guessed wrong."""
        self._settled = 0.95 * self._settled + settled
        self._wrong = 0.95 * self._wrong + wrong

    def time(self, width: int, images: int, seconds: float) -> None:
        """A pass took so many seconds."""
        if not self._passes:  # a pass of one pixel may be all overhead: so the first to come is not too wide
            self._passes.append((1.0, images, seconds / 2))
        self._passes.append((width, images, seconds))
        self._count += 1
        if self._count < 8 or self._count % 16 == 0:
            self._terms = _fit(np.array(self._passes))
            self._chosen.clear()


def _fit(passes: np.ndarray) -> np.ndarray:
    """a, b and c, none below 0, that make the squares of the relative errors of a + b w + c w n smallest."""
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
