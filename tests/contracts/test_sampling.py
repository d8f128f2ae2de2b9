"""Contract 6: every way to sample gives the same images, in any company, with the model's own probabilities."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases import CASES, IDS, enlarge, make
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelrnn.model import PixelModel
from pixelrnn.walk import Draw, uniforms

SMALL = (4, 5)


@pytest.fixture(params=CASES, ids=IDS)
def model(request: pytest.FixtureRequest) -> PixelModel:
    """Every network with every head, for images of 4 x 5."""
    return enlarge(make(request.param, SMALL), 2)


def some_images(model: PixelModel, n: int, size: tuple[int, int] = SMALL) -> Tensor:
    return torch.randint(0, model.levels, (n, model.channels, *size), dtype=torch.uint8)


# ---- one set of images, however they are made


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_cached_and_naive_sampling_give_the_same_images(model: PixelModel, temperature: float) -> None:
    cached = model.sample(3, seed=1, temperature=temperature, method="cached")
    assert torch.equal(cached, model.sample(3, seed=1, temperature=temperature, method="naive"))
    assert torch.equal(cached, model.sample(3, seed=1, temperature=temperature))


def test_an_image_does_not_depend_on_how_many_are_made_or_in_which_batches(model: PixelModel) -> None:
    five = model.sample(5, seed=3)
    assert torch.equal(model.sample(3, seed=3), five[:3])
    assert torch.equal(model.sample(7, seed=3)[:5], five)
    for batch_size in (1, 2, 4, 5):
        assert torch.equal(model.sample(5, seed=3, batch_size=batch_size), five)
    assert len({bytes(image.numpy()) for image in five}) == 5, "different images in a batch"


def test_another_seed_gives_other_images_and_the_same_seed_the_same(model: PixelModel) -> None:
    assert torch.equal(model.sample(2, seed=4), model.sample(2, seed=4))
    assert not torch.equal(model.sample(2, seed=4), model.sample(2, seed=5))
    assert not torch.equal(model.sample(2), model.sample(2)), "no seed: new images every time"


def test_a_sample_neither_reads_nor_moves_the_global_random_numbers_when_it_has_a_seed(model: PixelModel) -> None:
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), model.sample(1, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(model.sample(1, seed=0), first)


def test_samples_are_levels_in_uint8(model: PixelModel) -> None:
    images = model.sample(8, seed=0)
    assert images.dtype == torch.uint8
    assert images.shape == (8, model.channels, *SMALL)
    assert images.unique().tolist() == list(range(model.levels)), "every level comes up, and none above"


def test_images_of_256_levels_use_the_whole_byte() -> None:
    model = make(("", "pixelcnn", 1, "categorical", 256))
    assert model.sample(30, seed=0).max() == 255
    assert model.sample(30, seed=0).min() == 0


@pytest.mark.parametrize("size", [(9, 11), (1, 1), (1, 6), (6, 1)])
def test_images_may_be_larger_or_smaller_than_the_trained_size(model: PixelModel, size: tuple[int, int]) -> None:
    images = model.sample(2, size=size, seed=0)
    assert images.shape == (2, model.channels, *size)
    assert model.log_prob(images).isfinite().all()
    if size != (9, 11):
        assert torch.equal(images, model.sample(2, size=size, seed=0, method="naive"))


def test_a_model_with_dropout_samples_as_in_evaluation_and_stays_in_training(model: PixelModel) -> None:
    network, channels, head, levels = (model.config[key] for key in ("network", "channels", "head", "levels"))
    if "dropout" not in model.config["options"]:
        pytest.skip("a network without dropout")
    doubtful = enlarge(make(("", network, channels, head, levels), SMALL, dropout=0.5), 2).train()
    first = doubtful.sample(2, seed=0)
    assert all(each.training for each in doubtful.modules())
    images = some_images(model, 2)
    torch.manual_seed(0)
    assert not torch.equal(doubtful.log_prob(images), doubtful.eval().log_prob(images)), "the dropout is a real one"
    assert torch.equal(doubtful.sample(2, seed=0), first)
    assert not doubtful.training


def test_a_sampling_that_is_broken_off_leaves_the_model_in_training(model: PixelModel) -> None:
    def stop(first: int, row: int, pixels: Tensor) -> None:
        raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        model.sample(1, seed=0, on_row=stop)
    assert all(each.training for each in model.modules())


def test_two_walks_side_by_side_on_one_model_give_the_images_that_they_give_alone(model: PixelModel) -> None:
    expected = [model.sample(2, seed=seed) for seed in (1, 2)]
    meet = threading.Barrier(2, timeout=20)
    found: dict[int, Tensor] = {}

    def work(seed: int) -> None:
        found[seed] = model.sample(2, seed=seed, on_row=lambda first, row, pixels: meet.wait() and None)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(found[1], expected[0])
    assert torch.equal(found[2], expected[1])


def test_float32_draws_what_float64_draws_nearly_everywhere(model: PixelModel) -> None:
    """A rounding error flips a draw where a uniform number is within 1e-6 of a step: once in 100 000 pixels or so."""
    exact, single = model.sample(40, seed=0), model.float().sample(40, seed=0)
    assert single.dtype == torch.uint8
    assert (exact == single).double().mean() > 0.98


# ---- the draw itself


def test_a_uniform_number_chooses_the_first_level_whose_cumulated_probability_exceeds_it() -> None:
    pmf = torch.tensor([0.25, 0.0, 0.5, 0.25])
    for number, level in [(0.0, 0), (0.2, 0), (0.25, 2), (0.5, 2), (0.74, 2), (0.75, 3), (1 - 2**-53, 3)]:
        chosen = Draw(torch.full((1, 1, 1, 1), number)).choose(pmf[None], 0, 0, 0)
        assert chosen.tolist() == [level], number


def test_the_number_of_a_place_is_the_one_that_is_used() -> None:
    numbers = torch.zeros(2, 3, 4, 5)
    numbers[1, 2, 3, 4] = 0.9
    pmf = torch.full((2, 2), 0.5)
    assert Draw(numbers).choose(pmf, 3, 4, 2).tolist() == [0, 1]
    assert Draw(numbers).choose(pmf, 3, 4, 1).tolist() == [0, 0]


LARGEST = 1 - 2**-53  # below one


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
    level = int(Draw(numbers, temperature).choose(pmf, 0, 0, 0))
    assert weights[level] > 0


@pytest.mark.parametrize("parts", [10, 54, 254])
def test_the_largest_uniform_number_draws_the_last_level_that_is_possible(parts: int) -> None:
    """Rounded down, the probabilities add up to less than one: the rest is not the impossible level's."""
    pmf = torch.tensor([1 / parts] * parts + [0.0, 0.0])
    assert pmf.cumsum(0)[-1] < 1
    chosen = Draw(torch.full((1, 1, 1, 1), LARGEST)).choose(pmf[None], 0, 0, 0)
    assert chosen.tolist() == [parts - 1]


@pytest.mark.parametrize("temperature", [1e-3, 1e-6, 1e-300, 5e-324])
def test_a_temperature_near_zero_draws_the_most_probable_level(temperature: float) -> None:
    pmf = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.3, 0.7]])
    for number in (0.0, 0.5, LARGEST):
        chosen = Draw(torch.full((2, 1, 1, 1), number), temperature).choose(pmf, 0, 0, 0)
        assert chosen.tolist() == [1, 2]


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


def chi_square(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected) ** 2 / expected).sum())


def limit(cells: int) -> float:
    """Of chi-square with cells - 1 degrees of freedom, exceeded about once in 10 000 (Wilson and Hilferty)."""
    freedom = cells - 1
    return freedom * (1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)) ** 0.5) ** 3


TINY = [  # channels, size, head, levels
    (1, (1, 2), "categorical", 4),
    (1, (2, 1), "categorical", 4),
    (3, (1, 1), "bernoulli", 2),
    (3, (1, 1), "categorical", 3),
    (1, (2, 2), "bernoulli", 2),
]


def tiny(network: str, world: tuple[int, tuple[int, int], str, int]) -> tuple[PixelModel, Tensor, Tensor]:
    """A model, all of its images and their exact probabilities."""
    channels, size, head, levels = world
    model = enlarge(make(("", network, channels, head, levels), size, layers=2), 2)
    every = torch.tensor(list(itertools.product(range(levels), repeat=channels * size[0] * size[1])))
    every = every.view(-1, channels, *size)
    with torch.no_grad():
        return model, every, model.log_prob(every).exp()


def count(images: Tensor, every: Tensor) -> Tensor:
    """How often each image came up."""
    same = images.flatten(1)[:, None] == every.flatten(1)[None]
    return same.all(-1).sum(0).double()


@pytest.mark.parametrize("world", TINY, ids=str)
@pytest.mark.parametrize("network", ["pixelcnn", "gated-pixelcnn"])
def test_images_come_up_as_often_as_the_model_says(network: str, world: tuple) -> None:
    model, every, probabilities = tiny(network, world)
    found = count(model.sample(4000, seed=0, batch_size=4000), every)
    assert found.sum() == 4000
    assert chi_square(found, 4000 * probabilities) < limit(len(every))
    uniform = torch.full_like(probabilities, 4000 / len(every))
    assert chi_square(found, uniform) > limit(len(every)), "a distribution that is not the uniform one"


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_temperature_draws_from_the_power_of_the_probabilities(temperature: float) -> None:
    model, every, probabilities = tiny("gated-pixelcnn", (1, (1, 1), "categorical", 4))
    found = count(model.sample(4000, seed=0, temperature=temperature, batch_size=4000), every)
    powers = probabilities ** (1 / temperature)
    assert chi_square(found, 4000 * powers / powers.sum()) < limit(4)
    assert chi_square(found, 4000 * probabilities) > limit(4)


@pytest.mark.parametrize("network", ["pixelcnn", "gated-pixelcnn"])
def test_temperature_zero_takes_the_most_probable_level_of_every_pixel(network: str) -> None:
    model, every, _ = tiny(network, (1, (1, 2), "categorical", 4))
    images = model.sample(3, temperature=0, seed=0)
    assert torch.equal(images, model.sample(3, temperature=0, seed=1))
    with torch.no_grad():
        nats = model.log_prob(every, reduce=False)[:, 0, 0]
    first = int(every[nats[:, 0].argmax(), 0, 0, 0])
    rows = every[:, 0, 0, 0] == first
    second = int(every[rows][nats[rows, 1].argmax(), 0, 0, 1])
    assert images.flatten(1).tolist() == [[first, second]] * 3


@pytest.mark.parametrize("network", ["pixelcnn", "gated-pixelcnn"])
@pytest.mark.parametrize("given", [0, 3])
def test_a_completion_has_the_conditional_probabilities_where_the_known_pixels_come_first(
    network: str, given: int
) -> None:
    model, every, probabilities = tiny(network, (1, (1, 3), "categorical", 4))
    fits = every[:, 0, 0, 0] == given
    images = torch.zeros(4000, 1, 1, 3, dtype=torch.uint8)
    images[..., 0] = given
    known = torch.tensor([[True, False, False]])
    whole = model.complete(images, known, seed=0, batch_size=4000)
    assert (whole[..., 0] == given).all()
    expected = probabilities[fits] / probabilities[fits].sum()
    assert chi_square(count(whole, every[fits]), 4000 * expected) < limit(16)


# ---- completion


def test_a_completion_with_everything_known_is_the_image_and_with_nothing_known_a_sample(model: PixelModel) -> None:
    images = some_images(model, 3)
    whole = model.complete(images, torch.ones(SMALL, dtype=torch.bool), seed=2)
    assert whole.dtype == torch.uint8
    assert torch.equal(whole, images)
    assert torch.equal(model.complete(images, torch.zeros(SMALL, dtype=torch.bool), seed=2), model.sample(3, seed=2))


@settings(deadline=None, max_examples=25)
@given(case=st.sampled_from(CASES), seed=st.integers(0, 10**6), share=st.floats(0, 1), batch_size=st.integers(1, 3))
def test_known_pixels_come_back_untouched(case: tuple, seed: int, share: float, batch_size: int) -> None:
    model = make(case, SMALL, layers=2).float()
    torch.manual_seed(seed)
    images, known = some_images(model, 3), torch.rand(3, 1, *SMALL) < share
    before = images.clone()
    whole = model.complete(images, known, seed=seed, batch_size=batch_size)
    assert torch.equal(images, before), "what was given is not written to"
    assert torch.equal(torch.where(known, whole, images), images)
    assert whole.max() < model.levels


def masks(n: int) -> dict[str, Tensor]:
    """Masks with whole rows, spans of every kind, and another one for each image: (n or 1, 1, 4, 5)."""
    generator = torch.Generator().manual_seed(5)
    rows = torch.zeros(1, 1, *SMALL, dtype=torch.bool)
    rows[:, :, :2] = True
    spans = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 0, 0]]).bool()[None, None]
    lower = torch.zeros(1, 1, *SMALL, dtype=torch.bool)
    lower[:, :, 2:] = True
    columns = torch.zeros(1, 1, *SMALL, dtype=torch.bool)
    columns[..., 1:4] = True
    return {
        "the upper rows": rows, "the lower rows": lower, "a stripe": columns, "spans": spans,
        "each its own": torch.rand(n, 1, *SMALL, generator=generator) < 0.6,
        "one known as a whole": torch.tensor([True, False, True])[:n, None, None, None].expand(n, 1, *SMALL),
        "rows and each its own": rows | (torch.rand(n, 1, *SMALL, generator=generator) < 0.6),
    }  # fmt: skip


@pytest.mark.parametrize("name", masks(3))
def test_cached_and_naive_completion_give_the_same_images(model: PixelModel, name: str) -> None:
    images, known = some_images(model, 3), masks(3)[name]
    whole = model.complete(images, known, seed=1)
    assert torch.equal(whole, model.complete(images, known, seed=1, method="naive"))
    assert torch.equal(torch.where(known, whole, images), images)
    assert not torch.equal(whole, images)


@pytest.mark.parametrize("name", ["the upper rows", "spans", "each its own"])
def test_a_completion_does_not_depend_on_its_company(model: PixelModel, name: str) -> None:
    """Spans are taken at once where they are known in every image of a batch; that is speed and nothing else."""
    images, known = some_images(model, 3), masks(3)[name].expand(3, 1, *SMALL)
    whole = model.complete(images, known, seed=1)
    for batch_size in (1, 2):
        assert torch.equal(model.complete(images, known, seed=1, batch_size=batch_size), whole)
    assert torch.equal(model.complete(images[:1], known[:1], seed=1), whole[:1])


def test_what_stands_at_unknown_pixels_does_not_matter(model: PixelModel) -> None:
    images, known = some_images(model, 3), masks(3)["each its own"]
    others = torch.where(known, images, some_images(model, 3))
    assert not torch.equal(images, others)
    assert torch.equal(model.complete(images, known, seed=1), model.complete(others, known, seed=1))


def test_a_known_pixel_further_on_is_kept_and_not_seen(model: PixelModel) -> None:
    if len(model.network.stages()) > 1:
        pytest.skip("a network with an order of its own")
    images, known = some_images(model, 2), masks(2)["the lower rows"]
    whole = model.complete(images, known, seed=1)
    assert torch.equal(whole[:, :, :2], model.sample(2, seed=1)[:, :, :2])


def test_unknown_pixels_are_drawn_given_the_known_ones_before_them(model: PixelModel) -> None:
    first, other = some_images(model, 1), some_images(model, 1)
    known = masks(1)["the upper rows"]
    drawn = [
        torch.cat([model.complete(images, known, seed=seed)[:, :, 2:] for seed in range(8)])
        for images in (first, other)
    ]
    assert not torch.equal(*drawn)


def test_a_mask_may_be_one_for_all_images_or_one_for_each(model: PixelModel) -> None:
    images = some_images(model, 3)
    known = torch.zeros(SMALL, dtype=torch.bool)
    known[1, 2:] = known[0] = True
    expected = model.complete(images, known, seed=0)
    shapes: list[Callable[[Tensor], Tensor | np.ndarray]] = [
        lambda mask: mask[None], lambda mask: mask[None, None], lambda mask: mask.expand(3, 1, *SMALL),
        lambda mask: mask.expand(3, 1, *SMALL).clone(), lambda mask: mask.numpy(),
    ]  # fmt: skip
    for shape in shapes:
        assert torch.equal(model.complete(images, shape(known), seed=0), expected)


def test_temperature_zero_completes_the_same_whatever_the_seed(model: PixelModel) -> None:
    images, known = some_images(model, 2), masks(2)["spans"]
    first, second = (model.complete(images, known, seed=seed, temperature=0) for seed in (1, 2))
    assert torch.equal(first, second)


# ---- what is told while it runs


@pytest.mark.parametrize("method", ["cached", "naive"])
def test_on_row_is_told_every_row_of_every_batch_once_and_finished(model: PixelModel, method: str) -> None:
    calls: list[tuple[int, int]] = []
    seen = torch.full((5, model.channels, *SMALL), 255, dtype=torch.uint8)

    def on_row(first: int, row: int, pixels: Tensor) -> None:
        calls.append((first, row))
        seen[first : first + len(pixels), :, row] = pixels

    images = model.sample(5, seed=0, batch_size=2, method=method, on_row=on_row)
    assert calls == [(first, row) for first in (0, 2, 4) for row in range(4)]
    assert torch.equal(seen, images)


@pytest.mark.parametrize("name", ["the lower rows", "the upper rows", "each its own"])
def test_on_row_is_told_known_rows_too(model: PixelModel, name: str) -> None:
    calls: list[tuple[int, int]] = []
    rows: list[Tensor] = []

    def on_row(first: int, row: int, pixels: Tensor) -> None:
        calls.append((first, row))
        rows.append(pixels.clone())

    whole = model.complete(some_images(model, 3), masks(3)[name], seed=0, on_row=on_row)
    assert calls == [(0, row) for row in range(4)]
    assert torch.equal(torch.stack(rows, 2), whole)
