"""Contract 6: a completion keeps what is known, and draws the rest as sampling does, in any company."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases import CASES, SMALL, WALKED, RecordedRows, each_network, in_turn, make, some_images
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelrnn.model import PixelModel


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
        "the upper rows": rows,
        "the lower rows": lower,
        "a stripe": columns,
        "spans": spans,
        "each its own": torch.rand(n, 1, *SMALL, generator=generator) < 0.6,
        "one known as a whole": torch.tensor([True, False, True])[:n, None, None, None].expand(n, 1, *SMALL),
        "rows and each its own": rows | (torch.rand(n, 1, *SMALL, generator=generator) < 0.6),
    }


@in_turn("model, name", WALKED, masks(3), each=3)
def test_cached_and_naive_completion_give_the_same_images(model: PixelModel, name: str) -> None:
    images, known = some_images(model, 3), masks(3)[name]
    whole = model.complete(images, known, seed=1)
    assert torch.equal(whole, model.complete(images, known, seed=1, method="naive"))
    assert torch.equal(torch.where(known, whole, images), images)
    assert not torch.equal(whole, images)


@in_turn("model, name", WALKED, ["the upper rows", "spans", "each its own"])
def test_a_completion_does_not_depend_on_its_company(model: PixelModel, name: str) -> None:
    """Spans are taken at once where they are known in every image of a batch; that is speed and nothing else."""
    images, known = some_images(model, 3), masks(3)[name].expand(3, 1, *SMALL)
    whole = model.complete(images, known, seed=1)
    for batch_size in (1, 2):
        assert torch.equal(model.complete(images, known, seed=1, batch_size=batch_size), whole)
    assert torch.equal(model.complete(images[:1], known[:1], seed=1), whole[:1])


@each_network
def test_what_stands_at_unknown_pixels_does_not_matter(model: PixelModel) -> None:
    images, known = some_images(model, 3), masks(3)["each its own"]
    others = torch.where(known, images, some_images(model, 3))
    assert not torch.equal(images, others)
    assert torch.equal(model.complete(images, known, seed=1), model.complete(others, known, seed=1))


@each_network
def test_a_known_pixel_further_on_is_kept_and_not_seen(model: PixelModel) -> None:
    if len(model.network.stages()) > 1:
        pytest.skip("a network with an order of its own")
    images, known = some_images(model, 2), masks(2)["the lower rows"]
    whole = model.complete(images, known, seed=1, order=None)
    assert torch.equal(whole[:, :, :2], model.sample(2, seed=1)[:, :, :2])


@each_network
def test_unknown_pixels_are_drawn_given_the_known_ones_before_them(model: PixelModel) -> None:
    first, other = some_images(model, 1), some_images(model, 1)
    known = masks(1)["the upper rows"]
    drawn = [
        torch.cat([model.complete(images, known, seed=seed)[:, :, 2:] for seed in range(8)])
        for images in (first, other)
    ]
    assert not torch.equal(*drawn)


@each_network
def test_a_mask_may_be_one_for_all_images_or_one_for_each(model: PixelModel) -> None:
    images = some_images(model, 3)
    known = torch.zeros(SMALL, dtype=torch.bool)
    known[1, 2:] = known[0] = True
    expected = model.complete(images, known, seed=0)
    shapes: list[Callable[[Tensor], Tensor | np.ndarray]] = [
        lambda mask: mask[None],
        lambda mask: mask[None, None],
        lambda mask: mask.expand(3, 1, *SMALL),
        lambda mask: mask.expand(3, 1, *SMALL).clone(),
        lambda mask: mask.numpy(),
    ]
    for shape in shapes:
        assert torch.equal(model.complete(images, shape(known), seed=0), expected)


@each_network
def test_temperature_zero_completes_the_same_whatever_the_seed(model: PixelModel) -> None:
    images, known = some_images(model, 2), masks(2)["spans"]
    first, second = (model.complete(images, known, seed=seed, temperature=0) for seed in (1, 2))
    assert torch.equal(first, second)


@each_network
@pytest.mark.parametrize("name", ["the lower rows", "the upper rows", "each its own"])
def test_on_row_gets_known_rows_too(model: PixelModel, name: str) -> None:
    recorded = RecordedRows(3, model)
    whole = model.complete(some_images(model, 3), masks(3)[name], seed=0, on_row=recorded)
    takes_any = model.network.orders == "any"  # so images of different masks are drawn in different orders
    batches = range(3) if takes_any and name == "each its own" else (0,)
    assert recorded.calls == [(first, row) for first in batches for row in range(4)]
    assert torch.equal(recorded.images, whole)
