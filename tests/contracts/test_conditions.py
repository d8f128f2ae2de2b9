"""Conditions keep every promise: no leak, they reach all pixels, a missing one changes nothing, exact likelihoods."""

from __future__ import annotations

import itertools

import pytest
import torch
from cases import SMALL, make, some_images
from close import assert_close
from conditions import CONDITIONAL, CONDITIONS, TOLD_IDS, attentive, conditional, something, without
from torch import Tensor
from worlds import all_images

from pixelrnn.canvas import Whole, scale
from pixelrnn.layers.condition import Condition
from pixelrnn.measure.inspection import gradients, transparent
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS, default_head

every_case = pytest.mark.parametrize("case", CONDITIONAL, ids=TOLD_IDS)
every_condition = pytest.mark.parametrize("name", CONDITIONS)
every_network = pytest.mark.parametrize("network", NETWORKS)
ODD = (9, 7)


# ---- causality, and what a condition reaches


def later(model: PixelModel, row: int, column: int, colour: int, size: tuple[int, int]) -> Tensor:
    """The present and the future of a colour of a pixel: (C, H, W) bool."""
    place = model.network.order(*size).ranks[None]
    here = place[0, row, column]
    return (place > here) | ((place == here) & (torch.arange(model.channels)[:, None, None] >= colour))


@every_case
def test_no_parameter_of_a_conditional_model_depends_on_the_present_or_the_future(case: tuple) -> None:
    model = make(case, ODD, layers=2, condition_width=3, map_channels=1)
    network, s = transparent(model), 0.1 * torch.rand(1, 3, *ODD)

    def condition(canvas: Whole) -> Tensor:
        return network(Whole(canvas.image, s.expand(len(canvas.image), -1, -1, -1)))

    pixels = list(itertools.product(*map(range, ODD)))
    image, per_part = torch.rand(model.channels, *ODD), model.head.num_params // model.head.groups
    for colour in range(model.head.groups):
        found = gradients(condition, pixels, image, slice(colour * per_part, (colour + 1) * per_part))
        for (row, column), gradient in zip(pixels, found, strict=True):
            hidden = later(model, row, column, colour, ODD)
            assert (gradient[hidden] == 0).all(), f"colour {colour} of pixel ({row}, {column})"
            if model.channels == 1:
                declared = model.network.field(row, column, *ODD)
                assert torch.equal(gradient[0] != 0, declared), f"a condition changes nothing: ({row}, {column})"


@every_case
@torch.no_grad()
def test_another_future_moves_no_parameter_of_a_conditional_model(case: tuple) -> None:
    model = conditional(case, "all three")
    one, other = (torch.rand(1, model.channels, *ODD) for _ in "12")
    condition_map, order = model.embed_condition(1, **something(model, 1)), model.network.order(*ODD).ranks
    params = model.network(Whole(one, condition_map))
    for row, column in [(0, 0), (0, 6), (3, 4), (4, 2), (8, 6)]:
        changed = torch.where(order >= order[row, column], other, one)
        same = model.network(Whole(changed, condition_map))
        first = model.head.num_params // model.head.groups  # of the first colour
        assert torch.equal(same[:, :first, row, column], params[:, :first, row, column])


def reached(model: PixelModel, s: Tensor) -> Tensor:
    """How each parameter group of each pixel changes with s: (pixels, groups, maps, h, w)."""
    network, pixels = transparent(model), list(itertools.product(*map(range, ODD)))
    every = s.expand(len(pixels), -1, -1, -1).clone().requires_grad_()
    image = torch.rand(1, model.channels, *ODD).expand(len(pixels), -1, -1, -1)
    params = network(Whole(image, every))
    rows, columns = torch.tensor(pixels).T
    groups = params[torch.arange(len(pixels)), :, rows, columns].chunk(model.head.groups, 1)
    return torch.stack([torch.autograd.grad(each.sum(), every, retain_graph=True)[0] for each in groups], 1)


@every_case
def test_a_condition_without_a_location_reaches_every_colour_of_every_pixel(case: tuple) -> None:
    model = make(case, ODD, layers=2, condition_width=3, vector_size=2)
    found = reached(model, torch.rand(1, 3, 1, 1))
    assert found.shape == (63, model.head.groups, 3, 1, 1)
    assert (found != 0).all()


@every_case
def test_every_pixel_is_conditioned_on_its_own_position_the_first_one_too(case: tuple) -> None:
    model = make(case, ODD, layers=2, condition_width=3, map_channels=2)
    found = reached(model, torch.rand(1, 3, *ODD))
    for index, (row, column) in enumerate(itertools.product(*map(range, ODD))):
        assert (found[index, :, :, row, column] != 0).all(), f"pixel ({row}, {column})"


@every_case
@torch.no_grad()
def test_a_map_that_is_changed_at_one_position_changes_the_parameters_there(case: tuple) -> None:
    model = conditional(case, "map")
    image, map_ = torch.rand(1, model.channels, *ODD), torch.randn(1, 2, *ODD)
    params = model.network(Whole(image, model.embed_condition(1, condition_map=map_)))
    for row, column in [(0, 0), (0, 6), (8, 0), (8, 6), (4, 3)]:
        changed = map_.clone()
        changed[:, :, row, column] += 1
        moved = model.network(Whole(image, model.embed_condition(1, condition_map=changed))) - params
        assert (moved[:, :, row, column].abs() > 1e-9).any(), f"({row}, {column})"


BIASED = [
    (
        "mcgsm",
        "mcgsm",
        {"readout.predict": "readout.bias_means.conv", "readout.describe": "readout.bias_features.conv"},
    ),
    ("mcgsm", "categorical", {"readout": "condition_bias.conv"}),
    ("spatial-lstm", "mcgsm", {f"layers.{index}.inputs.0": f"layers.{index}.inputs.1" for index in (0, 1)}),
    ("spatial-lstm", "categorical", {f"layers.{index}.inputs.0": f"layers.{index}.inputs.1" for index in (0, 1)}),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("network", "head", "layers"), BIASED)
@torch.no_grad()
def test_a_condition_without_a_location_is_the_same_bias_everywhere(
    network: str, head: str, layers: dict[str, str], channels: int
) -> None:
    """Section 2.3 of arXiv 1606.05328: V^T h. The other networks have loops, in `test_fidelity_conditions`."""
    model = conditional(("", network, channels, head, 4), "vector")
    plain, condition_map = without(model), model.embed_condition(1, vector=torch.randn(2))
    assert {name for name, _ in model.network.named_parameters()} - {
        name for name, _ in plain.network.named_parameters()
    } == {f"{condition}.weight" for condition in layers.values()}
    image = torch.rand(1, channels, *ODD)
    expected = model.network(Whole(image, condition_map))
    for layer, condition in layers.items():
        unconditional, biased = plain.network(Whole(image)), plain.network.get_submodule(layer)
        bias = model.network.get_submodule(condition).weight[:, :, 0, 0] @ condition_map[0, :, 0, 0]
        biased.bias = torch.nn.Parameter(bias if biased.bias is None else biased.bias + bias)
        assert (plain.network(Whole(image)) - unconditional).abs().max() > 1e-3, f"{layer} matters"
    assert_close(plain.network(Whole(image)), expected)


def test_a_spatial_vector_differs_at_every_position() -> None:
    model = conditional(CONDITIONAL[0], "placed vector")
    condition_map = model.embed_condition(1, vector=torch.randn(2))
    assert condition_map.shape == (1, 3, *ODD)
    assert len(condition_map[0].flatten(1).unique(dim=1).T) == ODD[0] * ODD[1]


# ---- what is left out


@every_condition
@every_case
@torch.no_grad()
def test_a_conditional_model_without_its_condition_is_the_model_without_a_condition(case: tuple, name: str) -> None:
    model = conditional(case, name)
    plain = without(model)
    assert plain.condition is None
    images = some_images(model, 3)
    params, expected = (each.network(Whole(scale(images, 4, torch.float64))) for each in (model, plain))
    recurrent = any("inputs.1" in each for each in model.state_dict())  # one product of all inputs: sums in other order
    torch.testing.assert_close(params, expected, rtol=0, atol=1e-12 if recurrent else 0)
    assert_close(model.log_prob(images), plain.log_prob(images))
    assert torch.equal(model.sample(2, size=SMALL, seed=0), plain.sample(2, size=SMALL, seed=0))


@every_condition
@every_network
@torch.no_grad()
def test_in_training_a_condition_that_is_dropped_was_never_there_and_in_evaluation_none_is(
    network: str, name: str
) -> None:
    model = conditional(("", network, 1, default_head(network, 4), 4), name, condition_dropout=1 - 1e-12)
    images, condition = some_images(model, 4), something(model, 4)
    unconditional, known = model.log_prob(images), model.log_prob(images, **condition)
    assert (unconditional != known).all()
    assert torch.equal(model.log_prob(images, **condition), known), "nothing is drawn in evaluation"
    assert_close(model.train().log_prob(images, **condition), unconditional)
    model.condition.dropout = 0.0
    assert torch.equal(model.log_prob(images, **condition), known), "no dropout: training is evaluation"
    model.condition.dropout = 1 - 1e-12
    two = {key: each[:2] for key, each in condition.items()}
    drawn = model.sample(2, seed=0, **two)
    assert torch.equal(drawn, model.eval().sample(2, seed=0, **two)), "a model in training samples as in evaluation"


@pytest.mark.parametrize("spatial", [False, True])
@torch.no_grad()
def test_in_training_conditions_are_dropped_with_the_stated_probability_each_kind_by_itself(
    spatial: bool,
) -> None:
    """4000 images: four standard deviations are less than 0.03."""
    condition = Condition((4, 4), 5, classes=3, vector_size=2, map_channels=1, spatial=spatial, dropout=0.3).train()
    n = 4000
    values = {
        "label": torch.zeros(n).long(),
        "vector": torch.randn(1, 2).expand(n, -1),
        "map_": torch.randn(1, 1, 4, 4),
    }
    values["map_"] = values["map_"].expand(n, -1, -1, -1)
    every = condition(**values)
    kinds, times = every.flatten(1).round(decimals=9).unique(dim=0, return_counts=True)
    shares = {}
    for chosen in itertools.product((True, False), repeat=3):
        some = {key: each[:1] if use else None for (key, each), use in zip(values.items(), chosen, strict=True)}
        s = condition.eval()(**some)
        s = torch.zeros(1, 5, 1, 1) if s is None else s
        like = (kinds - s.expand(1, *every.shape[1:]).flatten(1)).abs().amax(1) < 1e-6
        assert like.sum() == 1, f"{chosen} never came"
        shares[chosen] = float(times[like] / n)
    assert sum(shares.values()) == pytest.approx(1), "and nothing else came"
    for chosen, share in shares.items():
        assert share == pytest.approx(0.7 ** sum(chosen) * 0.3 ** (3 - sum(chosen)), abs=0.03), chosen


# ---- probabilities


@every_network
@torch.no_grad()
def test_all_images_of_a_world_have_total_probability_one_for_every_label(network: str) -> None:
    for channels, size in ((1, (2, 2)), (3, (1, 2))):
        model = attentive(make(("", network, channels, default_head(network, 2), 2), size, layers=2, classes=3))
        every = all_images(channels, *size, 2)
        found = [model.log_prob(every, label=label).exp() for label in range(3)]
        for probabilities in found:
            assert_close(probabilities.sum(), torch.tensor(1.0))
        assert (found[0] - found[1]).abs().max() > 1e-3, "labels matter"


@every_network
@torch.no_grad()
def test_the_probability_of_a_label_is_bayes_rule(network: str) -> None:
    model = conditional(("", network, 1, default_head(network, 4), 4), "all three", SMALL)
    images, condition = some_images(model, 4), something(model, 4)
    rest = {"vector": condition["vector"], "condition_map": condition["condition_map"]}
    for prior, counts in (([1, 6, 3], None), (None, None), (None, [5, 0, 15]), ([2, 1, 1], [5, 0, 15])):
        model.about = {} if counts is None else {"class_counts": counts}
        weights = prior or counts or [1, 1, 1]
        found = model.label_log_prob(images, prior=prior, **rest)
        assert found.shape == (4, 3)
        for index in range(4):
            mine = {key: each[index : index + 1] for key, each in rest.items()}
            joint = [
                model.log_prob(images[index : index + 1], label=label, **mine) + torch.tensor(weights[label]).log()
                for label in range(3)
            ]
            expected = torch.cat(joint).softmax(0)  # some images have less than the smallest probability in float64
            assert_close(found[index].exp(), expected)
        assert torch.equal(model.classify(images, prior=prior, **rest), found.argmax(1))
