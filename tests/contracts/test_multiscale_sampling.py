"""Multi-Scale PixelRNN: samples begin with the small image, completions see what comes earlier in that order."""

from __future__ import annotations

import itertools

import pytest
import torch
from cases import RecordedRows, some_images
from multiscale import SIZE, VARIANTS, all_variants, both_bodies, copied, model_of, small_of
from torch import Tensor
from worlds import as_often, assert_sampled_as_often, count, world_of

from pixelrnn.model import PixelModel
from pixelrnn.sampling.choosers import Draw, uniforms
from pixelrnn.sampling.walk import walk

# ---- sampling


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("channels", [1, 3])
@all_variants
@both_bodies
def test_the_small_image_of_a_sample_is_a_sample_of_the_small_network_alone(
    body: str, variant: dict, channels: int, temperature: float
) -> None:
    model = model_of(body, channels=channels, **variant)
    small, step = small_of(model), model.network.factor
    numbers = uniforms(4, range(3), (channels, *SIZE))[:, :, ::step, ::step]
    alone = torch.zeros(numbers.shape, dtype=torch.uint8)
    for _ in walk(small.network, small.head, alone, Draw(numbers, temperature), dtype=torch.float64):
        pass
    images = model.sample(3, seed=4, temperature=temperature)
    assert torch.equal(images[:, :, ::step, ::step], alone)
    assert alone.unique(dim=0).shape[0] > 1


@pytest.mark.parametrize(("variant", "channels"), [(VARIANTS[0], 3), (VARIANTS[1], 1), (VARIANTS[2], 1)], ids=str)
@both_bodies
def test_a_sample_is_the_same_by_either_method_in_any_company_and_of_one_seed(
    body: str, variant: dict, channels: int
) -> None:
    model = model_of(body, channels=channels, **variant)
    images = model.sample(3, seed=1)
    assert torch.equal(model.sample(3, seed=1, method="naive"), images)
    for n, batch_size in [(3, 2), (2, 1), (4, 3)]:
        assert torch.equal(model.sample(n, seed=1, batch_size=batch_size)[:3], images[:n])
    assert not torch.equal(model.sample(3, seed=2), images)


N = 6000
TINY = [  # channels, size, head, levels, options
    (1, (2, 3), "bernoulli", 2, {}),
    (1, (1, 4), "categorical", 3, {}),
    (1, (4, 1), "categorical", 3, {}),
    (1, (2, 3), "bernoulli", 2, {"factor": 3}),
    (1, (1, 5), "bernoulli", 2, {"images": 3}),
    (3, (1, 2), "bernoulli", 2, {}),
]


def tiny(body: str, world: tuple) -> PixelModel:
    channels, size, head, levels, options = world
    return model_of(body, size, channels, head, levels, **options)


@pytest.mark.parametrize("world", TINY, ids=str)
@both_bodies
def test_images_come_up_as_often_as_the_model_says(body: str, world: tuple) -> None:
    assert_sampled_as_often(tiny(body, world), N)


# ---- completion


@pytest.mark.parametrize("more", [False, True], ids=["small image", "small image and the next pixel"])
@pytest.mark.parametrize("world", [world for world in TINY if world[0] == 1], ids=str)
@both_bodies
def test_a_completion_of_the_whole_small_image_has_the_conditional_probabilities(
    body: str, world: tuple, more: bool
) -> None:
    """Some copied pixels come later in the image than pixels that are drawn: they are seen all the same."""
    torch.manual_seed(2)  # weights for which what is known makes a difference that N images show
    model = tiny(body, world)
    every, probabilities = world_of(model)
    known = copied(model, world[1])
    if more:
        known[model.network.order(*world[1]).ranks == int(known.sum())] = True
    contents = torch.zeros(2, int(known.sum()), dtype=torch.long)  # of every other image of one batch
    contents[1] = world[3] - 1
    images = torch.zeros(N, *every.shape[1:], dtype=torch.uint8)
    images[:, 0, known] = contents.repeat(N // 2, 1).to(torch.uint8)
    whole = model.complete(images, known, seed=3, batch_size=N)
    assert torch.equal(whole[:, 0, known], images[:, 0, known])
    expected = []
    for half, content in enumerate(contents):
        fits = (every[:, 0, known] == content).all(1)
        expected.append(probabilities[fits] / probabilities[fits].sum())
        found = count(whole[half::2], every[fits])
        assert found.sum() == N // 2
        assert as_often(found, N // 2 * expected[half])
    assert not as_often(found, N // 2 * expected[0]), "what is known makes a difference"


def random_masks(model: PixelModel, n: int) -> dict[str, Tensor]:
    """Known pixels of every kind: (H, W), or another mask for each image (n, 1, H, W)."""
    height, width = model.size
    small = copied(model, model.size)
    order = model.network.order(height, width).ranks
    upper = torch.zeros(height, width, dtype=torch.bool)
    upper[: height // 2] = True
    return {
        "nothing": torch.zeros_like(small),
        "everything": torch.ones_like(small),
        "small image": small,
        "rest": ~small,
        "upper rows": upper,
        "lower rows": ~upper,
        "first in order": order < order.numel() // 2,
        "last in order": order >= order.numel() // 2,
        "few": torch.rand(n, 1, height, width) < 0.3,
        "many": torch.rand(n, 1, height, width) < 0.8,
        "small image and others": small | (torch.rand(n, 1, height, width) < 0.4),
        "some rows, others": upper | (torch.rand(n, 1, height, width) < 0.4),
    }


@pytest.mark.parametrize(("variant", "channels"), [*((each, 1) for each in VARIANTS), (VARIANTS[-1], 3)], ids=str)
@both_bodies
def test_a_completion_is_the_same_by_either_method_in_any_company_and_keeps_what_is_known(
    body: str, variant: dict, channels: int
) -> None:
    model = model_of(body, channels=channels, **variant)
    images = some_images(model, 3)
    before = images.clone()
    for name, known in random_masks(model, 3).items():
        whole = model.complete(images, known, seed=1)
        assert torch.equal(torch.where(known, whole, images), images), name
        others = torch.where(known, images, some_images(model, 3))
        assert torch.equal(model.complete(others, known, seed=1, batch_size=2), whole), "the unknown is not looked at"
        if name in ("few", "small image and others"):
            assert torch.equal(model.complete(images, known, seed=1, method="naive"), whole), name
            assert not torch.equal(model.complete(images, known, seed=2), whole), name
    assert torch.equal(images, before), "what was given is not written to"


@all_variants
@both_bodies
def test_a_known_pixel_that_comes_later_in_the_networks_order_is_kept_and_not_seen(body: str, variant: dict) -> None:
    model = model_of(body, **variant)
    sample, order = model.sample(30, seed=1), model.network.order(*SIZE).ranks
    seen_ahead = 0
    for row, column in itertools.product(*map(range, SIZE)):
        known = torch.zeros(SIZE, dtype=torch.bool)
        known[row, column] = True
        images = 3 - sample  # nowhere what was drawn
        whole = model.complete(images, known, seed=1)
        assert torch.equal(whole[:, :, row, column], images[:, :, row, column])
        earlier = order < order[row, column]
        assert torch.equal(whole[:, :, earlier], sample[:, :, earlier]), (row, column)
        before = torch.arange(order.numel()).reshape(SIZE) < row * SIZE[1] + column
        seen_ahead += int((whole != sample)[:, :, before].sum())
    assert seen_ahead, "a copied pixel is seen by some of the rest before it in raster order"


def test_a_known_pixel_of_the_rest_does_not_move_the_small_image_and_a_known_copied_pixel_moves_the_rest_above() -> (
    None
):
    model = model_of("diagonal-bilstm", (4, 4))
    sample, small = model.sample(40, seed=0), copied(model, (4, 4))
    rest = model.complete(3 - sample, ~small, seed=0)
    assert torch.equal(rest[:, :, small], sample[:, :, small])
    assert torch.equal(rest[:, :, ~small], (3 - sample)[:, :, ~small])
    last = torch.zeros(4, 4, dtype=torch.bool)
    last[2, 2] = True
    moved = model.complete(3 - sample, last, seed=0)
    assert torch.equal(moved[:, :, :2:2, ::2], sample[:, :, :2:2, ::2])
    assert not torch.equal(moved[:, :, 1], sample[:, :, 1])


@pytest.mark.parametrize(
    ("size", "method"), [(SIZE, "cached"), ((1, 5), "cached"), ((5, 1), "naive"), ((1, 1), "naive")], ids=str
)
@all_variants
@both_bodies
def test_on_row_gets_every_row_once_when_it_is_final(
    body: str, variant: dict, size: tuple[int, int], method: str
) -> None:
    model = model_of(body, size, **variant)
    images = some_images(model, 3)
    masks = random_masks(model, 3)
    for name in ["nothing", "everything", "small image", "rest", "upper rows", "lower rows", "few"]:
        recorded = RecordedRows(3, model)
        whole = model.complete(images, masks[name], seed=0, batch_size=2, method=method, on_row=recorded)
        assert recorded.calls == [(first, row) for first in (0, 2) for row in range(size[0])], name
        assert torch.equal(recorded.images, whole), name
