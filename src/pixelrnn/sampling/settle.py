"""Which guesses of a span were right: the step at the heart of the walk, as a function of arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]


class Settlement(NamedTuple):
    """What a pass over a span has settled in n images.

    values   (n, C, w): the span's pixels; those that are not settled are the next guess
    settled  (n,): number of leading positions of the span that are final now
    wrong    (n,) bool: whether a guess was contradicted
    """

    values: Levels
    settled: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.bool_]


def open_positions(
    settled: npt.NDArray[np.int64], unknown: npt.NDArray[np.bool_] | None, shape: tuple[int, int, int], groups: int
) -> npt.NDArray[np.bool_]:
    """Where the pixels of a span are still open: neither settled nor known.

    Arguments:
        settled  (n,): number of leading positions of the span that are settled. A position is a pixel, or with several
                 colour groups a colour of a pixel: (pixel 0, red), (pixel 0, green), ...
        unknown  (n, w): pixels that are not known; None for all
        shape    (n, C, w)
    Shapes:      -> (n, C, w) bool

    >>> open_positions(np.array([0, 2]), None, (2, 1, 3), groups=1)[:, 0]
    array([[ True,  True,  True],
           [False, False,  True]])
    >>> open_positions(np.array([2]), None, (1, 3, 2), groups=3)[0]  # red and green of the first pixel are settled
    array([[False,  True],
           [False,  True],
           [ True,  True]])
    """
    images, channels, width = shape
    open_ = (np.arange(width * groups) >= settled[:, None]).reshape(images, width, groups)
    if groups != channels:
        open_ = open_.repeat(channels // groups, 2)
    open_ = open_.transpose(0, 2, 1)
    return open_ if unknown is None else open_ & unknown[:, None]


def settle(guess: Levels, chosen: Levels, open_: npt.NDArray[np.bool_], groups: int) -> Settlement:
    """Accept what was chosen up to and including the first position where it contradicts the guess.

    Up to there the network was run on the right pixels, so the choices are those of sampling one position at a time;
    beyond it, they are only better guesses. A position that is not open keeps its value, and is settled together with
    those before it.

    Shapes: guess, chosen, open_ (n, C, w)

    A span of four pixels was guessed as 4 4 4 4, and 4 4 7 9 was chosen: three pixels are final, because the third was
    chosen given two right ones; 9 was chosen after a wrong third pixel, so it is a guess. In a second image the first
    two pixels were settled before, and all guesses turn out to be right.

    >>> guess = np.array([[[4, 4, 4, 4]], [[1, 2, 3, 3]]], dtype=np.uint8)
    >>> chosen = np.array([[[4, 4, 7, 9]], [[0, 0, 3, 3]]], dtype=np.uint8)
    >>> result = settle(guess, chosen, open_positions(np.array([0, 2]), None, (2, 1, 4), 1), groups=1)
    >>> result.values[:, 0]
    array([[4, 4, 7, 9],
           [1, 2, 3, 3]], dtype=uint8)
    >>> result.settled, result.wrong
    (array([3, 4]), array([ True, False]))

    Source: Wiggers and Hoogeboom, Predictive Sampling with Forecasting Autoregressive Models, 2020, arXiv 2002.09928;
            Song et al., Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving, 2021,
            arXiv 2002.03629
    """
    images, channels, width = guess.shape
    differs = ((chosen != guess) & open_).transpose(0, 2, 1)  # in generation order: (n, w, C)
    contradicted = differs.reshape(images, width * groups, channels // groups)
    contradicted = contradicted[..., 0] if groups == channels else contradicted.any(-1)
    wrong = contradicted.any(1)
    settled = np.where(wrong, contradicted.argmax(1) + 1, width * groups)
    return Settlement(np.where(open_, chosen, guess), settled, wrong)
