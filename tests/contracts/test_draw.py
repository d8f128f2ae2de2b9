"""Contract 6: a level is drawn with the model's own probability, by one uniform number."""

from __future__ import annotations

import pytest
import torch
from cases import enlarge, make
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import as_often, assert_sampled_as_often, count, world_of

from pixelrnn.model import PixelModel
from pixelrnn.sampling.choosers import Draw, Place, uniforms

LARGEST = 1 - 2**-53  # below one
CORNER = Place(None, 0, slice(0, 1))  # the first pixel of every image


def test_a_uniform_number_chooses_the_first_level_whose_cumulated_probability_exceeds_it() -> None:
    pmf = torch.tensor([0.25, 0.0, 0.5, 0.25])
    for number, level in [(0.0, 0), (0.2, 0), (0.25, 2), (0.5, 2), (0.74, 2), (0.75, 3), (LARGEST, 3)]:
        chosen = Draw(torch.full((1, 1, 1, 1), number)).choose(pmf[None, None], CORNER, 0)
        assert chosen.tolist() == [[level]], number


def test_the_number_of_a_position_is_the_one_that_is_used() -> None:
    numbers = torch.zeros(3, 3, 4, 5)
    numbers[1, 2, 3, 4] = 0.9
    pmf = torch.full((2, 2, 2), 0.5)
    some, columns = torch.tensor([1, 2]), slice(3, 5)
    assert Draw(numbers).choose(pmf, Place(some, 3, columns), 2).tolist() == [[0, 1], [0, 0]]
    assert Draw(numbers).choose(pmf, Place(some, 3, columns), 1).tolist() == [[0, 0], [0, 0]]
    assert Draw(numbers).choose(torch.full((3, 1, 2), 0.5), Place(None, 3, slice(4, 5)), 2).tolist() == [[0], [1], [0]]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_two_levels_are_drawn_like_any_other_number_of_them(temperature: float) -> None:
    two = torch.rand(4, 6, 2, dtype=torch.float64)
    two[0, :2], two[1, 2] = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    three = torch.cat([two, torch.zeros(4, 6, 1)], -1)
    draw = Draw(torch.rand(4, 1, 1, 6, dtype=torch.float64), temperature)
    place = Place(None, 0, slice(0, 6))
    assert torch.equal(draw.choose(two, place, 0).long(), draw.choose(three, place, 0))


@settings(deadline=None, max_examples=200)
@given(
    weights=st.lists(st.sampled_from([0.0, 0.0, 1.0, 3.0, 1e-3]), min_size=2, max_size=8).filter(any),
    number=st.one_of(st.sampled_from([0.0, 0.5, 0.999999]), st.floats(0, 0.999999)),
    temperature=st.sampled_from([1.0, 0.5, 2.0, 0.0]),
)
def test_a_level_of_probability_zero_is_never_drawn(weights: list[float], number: float, temperature: float) -> None:
    pmf = torch.tensor([weights], dtype=torch.float64)
    pmf = pmf / pmf.sum()
    numbers = torch.full((1, 1, 1, 1), number, dtype=torch.float64)
    level = int(Draw(numbers, temperature).choose(pmf[None], CORNER, 0))
    assert weights[level] > 0


@pytest.mark.parametrize("parts", [10, 54, 254])
def test_the_largest_uniform_number_draws_the_last_level_that_is_possible(parts: int) -> None:
    """Rounded down, the probabilities add up to less than one: the rest is not the impossible level's."""
    pmf = torch.tensor([1 / parts] * parts + [0.0, 0.0])
    assert pmf.cumsum(0)[-1] < 1
    chosen = Draw(torch.full((1, 1, 1, 1), LARGEST)).choose(pmf[None, None], CORNER, 0)
    assert chosen.tolist() == [[parts - 1]]


@pytest.mark.parametrize("temperature", [1e-3, 1e-6, 1e-300, 5e-324])
def test_a_temperature_near_zero_draws_the_most_probable_level(temperature: float) -> None:
    pmf = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.3, 0.7]])
    for number in (0.0, 0.5, LARGEST):
        chosen = Draw(torch.full((2, 1, 1, 1), number), temperature).choose(pmf[:, None], CORNER, 0)
        assert chosen.tolist() == [[1], [2]]


def test_uniform_numbers_are_of_a_seed_and_an_image_and_nothing_else() -> None:
    both = uniforms(7, [2, 5], (3, 4, 5))
    assert both.dtype == torch.float64
    assert torch.equal(uniforms(7, range(6), (3, 4, 5))[5], both[1])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(uniforms(8, [2], (3, 4, 5))[0], both[0])
    many = uniforms(0, range(200), (1, 10, 10)).flatten()
    assert many.min() >= 0
    assert many.max() < 1
    assert abs(many.mean() - 0.5) < 5 * (1 / 12 / 20000) ** 0.5
    assert many.unique().numel() == 20000


# ---- the frequencies of what is drawn

N = 4000
TINY = [  # channels, size, head, levels
    (1, (1, 2), "categorical", 4),
    (1, (2, 1), "categorical", 4),
    (3, (1, 1), "bernoulli", 2),
    (3, (1, 1), "categorical", 3),
    (1, (2, 2), "bernoulli", 2),
]


def tiny(network: str, world: tuple[int, tuple[int, int], str, int]) -> PixelModel:
    channels, size, head, levels = world
    return enlarge(make(("", network, channels, head, levels), size, layers=2), 2)


@pytest.mark.parametrize("world", TINY, ids=str)
@pytest.mark.parametrize("network", ["pixelcnn", "gated-pixelcnn"])
def test_images_come_up_as_often_as_the_model_says(network: str, world: tuple) -> None:
    assert_sampled_as_often(tiny(network, world), N)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_temperature_draws_from_the_power_of_the_probabilities(temperature: float) -> None:
    model = tiny("gated-pixelcnn", (1, (1, 1), "categorical", 4))
    every, probabilities = world_of(model)
    found = count(model.sample(N, seed=0, temperature=temperature, batch_size=N), every)
    powers = probabilities ** (1 / temperature)
    assert as_often(found, N * powers / powers.sum())
    assert not as_often(found, N * probabilities)


@pytest.mark.parametrize("network", ["pixelcnn", "gated-pixelcnn"])
def test_temperature_zero_takes_the_most_probable_level_of_every_pixel(network: str) -> None:
    model = tiny(network, (1, (1, 2), "categorical", 4))
    every, _ = world_of(model)
    images = model.sample(3, temperature=0, seed=0)
    assert torch.equal(images, model.sample(3, temperature=0, seed=1))
    with torch.no_grad():
        nats = model.log_prob(every, reduce=False)[:, 0, 0]
    first = int(every[nats[:, 0].argmax(), 0, 0, 0])
    rows = every[:, 0, 0, 0] == first
    second = int(every[rows][nats[rows, 1].argmax(), 0, 0, 1])
    assert images.flatten(1).tolist() == [[first, second]] * 3


@pytest.mark.parametrize("network", ["pixelcnn", "gated-pixelcnn"])
@pytest.mark.parametrize("first", [0, 3])
def test_a_completion_has_the_conditional_probabilities_where_the_known_pixels_come_first(
    network: str, first: int
) -> None:
    model = tiny(network, (1, (1, 3), "categorical", 4))
    every, probabilities = world_of(model)
    fits = every[:, 0, 0, 0] == first
    images = torch.zeros(N, 1, 1, 3, dtype=torch.uint8)
    images[..., 0] = first
    known = torch.tensor([[True, False, False]])
    whole = model.complete(images, known, seed=0, batch_size=N)
    assert (whole[..., 0] == first).all()
    expected = probabilities[fits] / probabilities[fits].sum()
    assert as_often(count(whole, every[fits]), N * expected)
