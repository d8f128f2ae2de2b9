"""The pace of a walk: what a pass takes, how often guesses are right, and the width that follows."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import pixelrnn
from pixelrnn.sampling.pace import Pace


def taught(seconds: object, wrong_of_a_hundred: int, images: int = 1) -> Pace:
    """A pace that has seen some hundred passes of all widths, which took `seconds(width)`."""
    pace = Pace()
    for _ in range(40):
        for width in (1, 4, 9, 28):
            pace.time(width, images, seconds(width))  # type: ignore[operator]
        pace.learn(100, wrong_of_a_hundred)
    return pace


def width(pace: Pace, left: int = 28, images: int = 1, places: int = 1) -> int:
    return pace.width(np.zeros(images, dtype=int), left, images, places)


def test_where_passes_take_the_same_whatever_their_width_the_whole_row_is_tried() -> None:
    assert width(taught(lambda _: 1e-3, 30)) == 28
    assert width(taught(lambda _: 1e-3, 30), left=5) == 5


def test_where_a_pass_takes_as_long_as_it_is_wide_and_guesses_are_wrong_pixels_come_one_by_one() -> None:
    assert width(taught(lambda w: 1e-4 * w, 50)) == 1


def test_the_surer_the_guesses_the_wider_the_span() -> None:
    widths = [width(taught(lambda w: 1e-3 + 1e-4 * w, wrong)) for wrong in (60, 20, 5, 0)]
    assert widths == sorted(widths)
    assert widths[0] < 6
    assert widths[-1] == 28


def test_the_width_is_the_best_one_by_the_numbers() -> None:
    """Against the expectation written out: settled places per second."""
    pace = taught(lambda w: 2e-4 + 1e-5 * w, 10)
    rates = [sum(0.9**k for k in range(w)) / (2e-4 + 1e-5 * w) for w in range(1, 29)]
    best = rates[width(pace) - 1]
    assert best > 0.97 * max(rates)


def test_images_that_are_ahead_do_not_narrow_the_span_of_the_others() -> None:
    pace = taught(lambda w: 1e-3 + 2e-5 * w, 2)
    assert pace.width(np.array([0, 20]), 28, 2, 1) == 28


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_what_a_pass_takes_is_found_from_its_parts(noise: float) -> None:
    rng = np.random.default_rng(0)
    pace = Pace()
    for _ in range(32):
        w, n = int(rng.integers(1, 29)), int(rng.integers(1, 17))
        pace.time(w, n, (3e-4 + 2e-5 * w + 1e-5 * w * n) * (1 + noise * rng.random()))
    pace.time(1, 1, 3e-4)
    for w, n in [(1, 1), (28, 1), (28, 16), (5, 4)]:
        expected = (3e-4 + 2e-5 * w + 1e-5 * w * n) * (1 + noise / 2)
        assert pace._terms @ [1, w, w * n] == pytest.approx(expected, rel=0.2)
    assert (pace._terms >= 0).all()


def test_a_model_with_a_pace_can_be_copied_and_sent_to_another_process() -> None:
    model = pixelrnn.build("pixelcnn", size=(5, 6), levels=2, layers=1, width=4)
    images = model.sample(3, seed=0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other.sample(3, seed=0) == images).all()
