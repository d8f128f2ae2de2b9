"""Multi-Scale PixelRNN: the nats of the small image are its own, the rest is conditioned on it alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from cases import some_images
from close import assert_close
from multiscale import all_variants, both_bodies, copied, model_of, small_of
from worlds import all_images

from pixelrnn.canvas import Whole, scale


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 4), (6, 7), (1, 5), (1, 1)], ids=str)
@all_variants
@both_bodies
@torch.no_grad()
def test_the_nats_of_copied_pixels_are_those_of_the_small_network_alone(
    body: str, variant: dict, size: tuple[int, int], channels: int
) -> None:
    model = model_of(body, size, channels, **variant)
    images, step = some_images(model, 3), model.network.factor
    nats = model.log_prob(images, reduce=False)
    small = small_of(model).log_prob(images[:, :, ::step, ::step], reduce=False)
    assert_close(nats[:, :, ::step, ::step], small)
    rest = nats[:, :, ~copied(model, size)].sum((1, 2))
    assert_close(model.log_prob(images), small.sum((1, 2, 3)) + rest)


@pytest.mark.parametrize(
    ("size", "variant"), [((2, 3), {}), ((3, 3), {}), ((3, 3), {"factor": 3}), ((3, 3), {"images": 3})], ids=str
)
@both_bodies
@torch.no_grad()
def test_the_images_of_a_world_and_the_rest_of_each_small_image_have_total_probability_one(
    body: str, size: tuple[int, int], variant: dict
) -> None:
    model = model_of(body, size, head="bernoulli", levels=2, **variant)
    images, mask = all_images(1, *size, 2), copied(model, size)
    assert len(images) == 2 ** (size[0] * size[1])
    joint = model.log_prob(images)
    assert_close(joint.exp().sum().item(), 1.0)
    condition_map = model.log_prob(images, reduce=False)[:, :, ~mask].sum(
        (1, 2)
    )  # log p(rest | small), as the model says
    contents, which = images[:, 0, mask].unique(dim=0, return_inverse=True)
    assert len(contents) == 2 ** int(mask.sum())
    step = model.network.factor
    for index in range(len(contents)):
        mine = which == index
        assert_close(condition_map[mine].exp().sum().item(), 1.0)
        marginal = joint[mine].logsumexp(0)
        assert_close(condition_map[mine], joint[mine] - marginal)
        (alone,) = small_of(model).log_prob(images[mine][:1, :, ::step, ::step])
        assert_close(marginal, alone)
    assert joint.max() - joint.min() > 1, "not the uniform distribution"


@pytest.mark.parametrize("size", [(7, 6), (3, 8)], ids=str)
@all_variants
@both_bodies
@torch.no_grad()
def test_a_changed_pixel_changes_the_conditionals_of_those_that_declare_to_see_it_and_no_others(
    body: str, variant: dict, size: tuple[int, int]
) -> None:
    model = model_of(body, size, **variant)
    pixels = list(itertools.product(range(size[0]), range(size[1])))
    changed = torch.zeros(len(pixels), *size, dtype=torch.bool)  # [who is changed, who changes]
    for base in torch.randint(0, 4, (6, 1, 1, *size)):  # several: a ReLU may be dead in one of them
        others = base.repeat(len(pixels), 1, 1, 1)
        for index, (row, column) in enumerate(pixels):
            others[index, :, row, column] = 3 - others[index, :, row, column]
        both = [model.network(Whole(scale(each, 4, torch.float64))) for each in (others, base.expand_as(others))]
        changed |= (both[0] != both[1]).any(1)
    declared = torch.stack([model.network.field(*pixel, *size) for pixel in pixels])  # [who sees, who is seen]
    found = changed.flatten(1).T.reshape_as(declared)
    assert torch.equal(found, declared)
    rest = ~copied(model, size).flatten()
    assert not declared.flatten(1)[~rest][:, rest].any()
    sees_ahead = declared.flatten(1)[rest].triu(1)
    assert sees_ahead.any(), "some of the rest sees what is further down in the image"


@pytest.mark.parametrize(("channels", "head", "levels"), [(1, "bernoulli", 2), (3, "categorical", 4)])
@all_variants
@both_bodies
@torch.no_grad()
def test_no_pixel_of_the_rest_moves_the_nats_of_a_copied_pixel_by_one_bit(
    body: str, variant: dict, channels: int, head: str, levels: int
) -> None:
    model = model_of(body, (6, 5), channels, head, levels, **variant)
    mask = copied(model, (6, 5))
    images = some_images(model, 4)
    others = torch.where(mask, images, levels - 1 - images)
    nats, moved = (model.log_prob(each, reduce=False) for each in (images, others))
    assert torch.equal(nats[:, :, mask], moved[:, :, mask])
    assert not torch.equal(nats[:, :, ~mask], moved[:, :, ~mask])


@both_bodies
@torch.no_grad()
def test_as_many_scales_as_one_likes_leave_the_total_probability_at_one(body: str) -> None:
    model = model_of(body, (3, 3), head="bernoulli", levels=2, layers=1, images=5)
    assert [stage.step for stage in model.network.stages()] == [16, 8, 4, 2, 1]
    total = model.log_prob(all_images(1, 3, 3, 2)).exp().sum().item()
    assert_close(total, 1.0)
