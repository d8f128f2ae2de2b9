"""Conditions in the walk: one function in both passes, the same images as the oracle, guidance as it is defined."""

from __future__ import annotations

import itertools

import pytest
import torch
from cases import SMALL, in_turn, make, some_images
from close import assert_close
from conditions import CONDITIONAL, CONDITIONS, TOLD_IDS, attentive, conditional, something
from torch import Tensor
from walks import walked_params
from worlds import all_images, as_often, count

from pixelrnn.canvas import Whole, scale
from pixelrnn.errors import ConditionError
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS, default_head

every_case = pytest.mark.parametrize("case", CONDITIONAL, ids=TOLD_IDS)
every_network = pytest.mark.parametrize("network", NETWORKS)
ODD = (9, 7)


# ---- one function in both passes


def assert_walked_as_whole(case: tuple, name: str, span: int, *, by_colour: bool = False) -> None:
    model = conditional(case, name)
    images = torch.randint(0, model.levels, (3, model.channels, *ODD))
    condition_map = model.embed_condition(3, **something(model, 3))
    whole = model.network(Whole(scale(images, model.levels, torch.float64), condition_map))
    walked = walked_params(model, images, span, condition_map=condition_map, by_colour=by_colour)
    assert_close(walked, whole)
    unconditional = model.network(Whole(scale(images, model.levels, torch.float64)))
    changed = ((whole - unconditional).abs() > 1e-6).any(1)
    assert changed.double().mean() > 0.5, "the condition matters; a pixel may have lost it in a ReLU"


@in_turn("case, name", CONDITIONAL, CONDITIONS)
@torch.no_grad()
def test_the_walk_of_a_conditional_model_gives_the_parameters_of_the_whole_pass(case: tuple, name: str) -> None:
    assert_walked_as_whole(case, name, 3)


@in_turn("case, span, by_colour", CONDITIONAL, [(1, True), (7, False)], each=1)
@torch.no_grad()
def test_that_holds_for_spans_of_any_width(case: tuple, span: int, by_colour: bool) -> None:
    assert_walked_as_whole(case, "all three", span, by_colour=by_colour)


@in_turn("case, size", CONDITIONAL, [(1, 1), (1, 6), (2, 3), (6, 1)])
@torch.no_grad()
def test_that_holds_for_images_smaller_than_a_kernel(case: tuple, size: tuple[int, int]) -> None:
    model = conditional(case, "all three")
    images = torch.randint(0, model.levels, (2, model.channels, *size))
    condition_map = model.embed_condition(2, size, **something(model, 2, size))
    whole = model.network(Whole(scale(images, model.levels, torch.float64), condition_map))
    assert_close(walked_params(model, images, 1, condition_map=condition_map), whole)


# ---- sampling and completion


def known_of(n: int) -> Tensor:
    """A whole row, and for each image a mask of its own: (n, 1, 4, 5)."""
    known = torch.rand(n, 1, *SMALL, generator=torch.Generator().manual_seed(5)) < 0.4
    known[:, :, 1] = True
    return known


WAYS = [
    ("label", 1.0),
    ("map", 1.0),
    ("placed vector", 1.0),
    ("all three", 1.0),
    ("all three", 2.0),
    ("all three", 0.5),
]


@in_turn("case, name, guidance", CONDITIONAL, WAYS)
def test_cached_and_naive_sampling_give_the_same_images_for_the_same_conditions(
    case: tuple, name: str, guidance: float
) -> None:
    model = conditional(case, name, SMALL)
    condition = something(model, 5)
    images = model.sample(5, seed=1, batch_size=2, guidance=guidance, **condition)
    naive = model.sample(5, seed=1, batch_size=5, guidance=guidance, method="naive", **condition)
    assert torch.equal(images, naive)
    assert not torch.equal(images, model.sample(5, seed=1)), "the condition matters"
    if guidance != 1:
        assert not torch.equal(images, model.sample(5, seed=1, **condition)), "its strength matters"


@in_turn("case, guidance", CONDITIONAL, [1.0, 2.0], each=1)
def test_a_conditional_sample_does_not_depend_on_its_company(case: tuple, guidance: float) -> None:
    model = conditional(case, "all three", SMALL)
    condition = something(model, 5)
    five = model.sample(5, seed=3, guidance=guidance, **condition)
    three = {name: each[:3] for name, each in condition.items()}
    assert torch.equal(model.sample(3, seed=3, guidance=guidance, **three), five[:3])
    for batch_size, span in ((1, 1), (2, 5), (4, 2)):
        again = model.sample(5, seed=3, guidance=guidance, batch_size=batch_size, span=span, **condition)
        assert torch.equal(again, five)
    others = {name: each.flip(0) for name, each in condition.items()}
    assert torch.equal(model.sample(5, seed=3, guidance=guidance, **others)[2], five[2]), "the one in the middle"


@in_turn("case, guidance", CONDITIONAL, [1.0, 2.0, 0.5])
def test_a_conditional_completion_is_that_of_the_oracle(case: tuple, guidance: float) -> None:
    model = conditional(case, "all three", SMALL)
    images, known, condition = some_images(model, 5), known_of(5), something(model, 5)
    whole = model.complete(images, known, seed=1, batch_size=2, guidance=guidance, **condition)
    assert torch.equal(torch.where(known, whole, images), images)
    naive = model.complete(images, known, seed=1, batch_size=3, guidance=guidance, method="naive", **condition)
    assert torch.equal(whole, naive)
    assert not torch.equal(whole, model.complete(images, known, seed=1))


@every_network
def test_the_rows_of_a_guided_sampling_are_those_of_its_images(network: str) -> None:
    model = conditional(("", network, 1, default_head(network, 4), 4), "all three", SMALL)
    condition = something(model, 5)
    images = model.sample(5, seed=1, guidance=2.0, batch_size=2, **condition)
    rows = list(model.sample_rows(5, seed=1, guidance=2.0, batch_size=2, **condition))
    assert [each[:2] for each in rows] == [(first, row) for first in (0, 2, 4) for row in range(4)]
    for first, row, line in rows:
        assert torch.equal(line, images[first : first + 2, :, row])


def test_one_condition_counts_for_every_image() -> None:
    model = conditional(CONDITIONAL[0], "all three", SMALL)
    condition = something(model, 1)
    many = {name: each.expand(4, *each.shape[1:]) for name, each in condition.items()}
    one = {
        "label": int(condition["label"]),
        "vector": condition["vector"][0],
        "condition_map": condition["condition_map"][0],
    }
    images = some_images(model, 4)
    assert_close(model.log_prob(images, **one), model.log_prob(images, **many))
    assert torch.equal(model.sample(4, seed=0, **one), model.sample(4, seed=0, **many))


# ---- guidance


@torch.no_grad()
def guided_world(model: PixelModel, strength: float, **condition: object) -> tuple[Tensor, Tensor]:
    """All images and their guided probabilities, pixel by pixel and level by level from both log-likelihoods."""
    every = all_images(model.channels, *model.size, model.levels)
    total = torch.ones(len(every))
    for channel, row, column in itertools.product(range(model.channels), *map(range, model.size)):
        weights = []
        for level in range(model.levels):
            other = every.clone()
            other[:, channel, row, column] = level
            with_, without_ = (
                model.log_prob(other, reduce=False, **each)[:, channel, row, column].exp() for each in (condition, {})
            )
            weights.append(without_ * (with_ / without_) ** strength)
        stacked = torch.stack(weights, 1) / sum(weights)[:, None]
        total *= stacked.gather(1, every[:, channel, row, column, None])[:, 0]
    return every, total


@pytest.mark.parametrize("guidance", [2.0, 0.5])
@pytest.mark.parametrize(("channels", "size"), [(1, (2, 2)), (3, (1, 2))], ids=str)
@pytest.mark.parametrize("network", ["pixelcnn", "row-lstm", "multiscale", "local-pixelcnn", "pixel-transformer"])
def test_guided_samples_come_up_as_often_as_the_guided_probabilities_say(
    network: str, channels: int, size: tuple[int, int], guidance: float
) -> None:
    model = attentive(make(("", network, channels, default_head(network, 2), 2), size, layers=2, classes=2))
    n = 8000
    every, probabilities = guided_world(model, guidance, label=1)
    assert_close(probabilities.sum(), torch.tensor(1.0))
    found = count(model.sample(n, seed=0, label=1, guidance=guidance, batch_size=n), every)
    assert found.sum() == n
    assert as_often(found, n * probabilities)
    for other in (0.0, 1.0):
        assert not as_often(found, n * guided_world(model, other, label=1)[1]), f"strength {other}"


@every_network
def test_plain_samples_come_up_as_often_as_the_condition_says(network: str) -> None:
    model = attentive(make(("", network, 1, default_head(network, 2), 2), (2, 2), layers=2, classes=2))
    every, n = all_images(1, 2, 2, 2), 8000
    with torch.no_grad():
        condition, unconditional = model.log_prob(every, label=1).exp(), model.log_prob(every).exp()
    found = count(model.sample(n, seed=0, label=1, batch_size=n), every)
    assert as_often(found, n * condition)
    assert not as_often(found, n * unconditional)


@every_case
def test_guidance_one_is_the_condition_and_zero_is_none(case: tuple) -> None:
    model = conditional(case, "all three", SMALL)
    condition = something(model, 4)
    plain, unconditional = model.sample(4, seed=0, **condition), model.sample(4, seed=0)
    assert torch.equal(model.sample(4, seed=0, guidance=1.0, **condition), plain)
    assert torch.equal(model.sample(4, seed=0, guidance=1 + 1e-12, **condition), plain), "by way of the formula"
    assert torch.equal(model.sample(4, seed=0, guidance=0.0, **condition), unconditional)
    with pytest.raises(ConditionError, match="exaggerates a condition, but"):
        model.sample(4, seed=0, guidance=3.0)
    assert not torch.equal(plain, unconditional)
