"""How source values become levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pixelrnn.data import BINARISATION_SEED, BINARISATIONS, Levels
from pixelrnn.errors import ConfigError, ImageError


@pytest.fixture
def digits() -> np.ndarray:
    """MNIST-shaped, and larger than one chunk of random numbers."""
    return np.random.default_rng(0).integers(0, 256, size=(6000, 1, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("binarise", ["fixed", "stochastic"])
def test_fixed_binarisation_is_the_published_one_line_formula(digits: np.ndarray, binarise: str) -> None:
    assert BINARISATION_SEED == 20160125
    expected = np.random.default_rng(20160125).random(digits.shape) < digits / 255
    found = Levels(256, 2, binarise).fixed(digits)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_fixed_binarisation_of_a_17_value_source_divides_by_16() -> None:
    images = np.random.default_rng(1).integers(0, 17, size=(300, 1, 8, 8), dtype=np.uint8)
    expected = np.random.default_rng(20160125).random(images.shape) < images / 16
    assert np.array_equal(Levels(17, 2, "fixed").fixed(images), expected)


def test_a_threshold_lies_above_one_half() -> None:
    images = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    assert Levels(256, 2, "threshold").fixed(images).tolist() == [[0, 0, 1, 1]]
    assert Levels(17, 2, "threshold").fixed(np.array([[8, 9]], dtype=np.uint8)).tolist() == [[0, 1]]


def test_two_levels_are_binarised_stochastically_by_default() -> None:
    assert Levels(256, 2) == Levels(256, 2, "stochastic")
    assert Levels(256, 2).redrawn
    assert not Levels(256, 2, "fixed").redrawn
    assert not Levels(256, 2, "threshold").redrawn


def test_a_source_of_two_values_stays_as_it_is() -> None:
    images = np.array([[0, 1, 1]], dtype=np.uint8)
    levels = Levels(2, 2)
    assert levels.binarise is None
    assert levels.fixed(images).tolist() == [[0, 1, 1]]


def test_coarser_levels_are_the_floor_of_the_share() -> None:
    images = np.array([[0, 63, 64, 127, 128, 191, 192, 255]], dtype=np.uint8)
    assert Levels(256, 4).fixed(images).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]
    every = np.arange(17, dtype=np.uint8)[None]
    assert Levels(17, 5).fixed(every)[0].tolist() == [value * 5 // 17 for value in range(17)]


def test_as_many_levels_as_values_change_nothing() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert Levels(256, 256).fixed(images) is images
    digits = np.arange(17, dtype=np.uint8)[None]
    assert np.array_equal(Levels(17, 17).fixed(digits), digits)


def test_a_stochastic_batch_is_drawn_anew_with_the_pixel_values_as_probabilities() -> None:
    batch = torch.tensor([0, 51, 204, 255], dtype=torch.uint8).repeat(20_000, 1)
    levels = Levels(256, 2)
    first, second = (levels.draw(batch, torch.rand(batch.shape)) for _ in range(2))
    assert first.dtype == torch.uint8
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.double().mean(0), torch.tensor([0.0, 0.2, 0.8, 1.0]).double(), atol=0.015, rtol=0)


def test_a_drawn_pixel_is_on_where_its_number_is_below_its_value() -> None:
    batch = torch.tensor([[0, 51, 51, 255]], dtype=torch.uint8)
    numbers = torch.tensor([[0.0, 0.19, 0.21, 1 - 1e-16]], dtype=torch.float64)
    assert Levels(256, 2).draw(batch, numbers).tolist() == [[0, 1, 0, 1]]


@pytest.mark.parametrize("levels", [Levels(256, 2, "fixed"), Levels(256, 2, "threshold"), Levels(256, 4)])
def test_a_batch_that_is_not_redrawn_comes_back_unchanged(levels: Levels) -> None:
    start = levels.fixed(np.random.default_rng(0).integers(0, 256, size=(3, 1, 4, 4), dtype=np.uint8))
    batch = torch.from_numpy(start)
    assert torch.equal(levels.draw(batch, torch.rand(batch.shape)), batch)


def test_a_batch_of_source_values_is_refused_where_levels_are_expected() -> None:
    with pytest.raises(ImageError, match=r"value 200.*0\.\.3"):
        Levels(256, 4).draw(torch.tensor([[200]], dtype=torch.uint8), torch.rand(1))


def test_values_outside_the_source_are_refused() -> None:
    with pytest.raises(ImageError, match=r"0\.\.16, but got values from 3 to 17"):
        Levels(17, 17).fixed(np.array([[3, 17]], dtype=np.uint8))
    with pytest.raises(ImageError, match="from -1"):
        Levels(256, 4).fixed(np.array([[-1, 17]]))
    with pytest.raises(ImageError, match="float64"):
        Levels(256, 4).fixed(np.array([[0.5]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((17, 256), "only 17 values"),
        ((256, 1), "2 to 256 levels"),
        ((256, 257), "2 to 256 levels"),
        ((1, 2), "2 to 256 values"),
        ((257, 2), "2 to 256 values"),
        ((256, 4, "fixed"), "needs 2 levels"),
        ((256, 2, "stochastik"), "Did you mean 'stochastic'"),
    ],
)
def test_levels_out_of_their_range_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Levels(*arguments)


def test_every_way_states_its_protocol() -> None:
    assert Levels(256, 2).protocol == "binarised stochastically; validation and test drawn once, seed 20160125"
    assert Levels(256, 2, "fixed").protocol == "binarised once, seed 20160125"
    assert Levels(256, 2, "threshold").protocol == "binarised by threshold 0.5"
    assert Levels(256, 4).protocol == "4 levels by floor"
    assert Levels(17, 17).protocol == "17 levels as they are"
    assert BINARISATIONS == ("stochastic", "fixed", "threshold")
    assert len({Levels(256, 2, way).protocol for way in BINARISATIONS}) == len(BINARISATIONS)
