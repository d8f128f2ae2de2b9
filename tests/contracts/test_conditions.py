"""Conditions keep every promise: one function in both passes, no leak, and what is left out was never there."""

from __future__ import annotations

import itertools

import pytest
import torch
from cases import SMALL, make, some_images
from conditions import CONDITIONS, TOLD, TOLD_IDS, attentive, conditional, something, without
from torch import Tensor
from walks import walked_params
from worlds import all_images, as_often, count

from pixelrnn.canvas import Whole, scale
from pixelrnn.inspection import gradients, transparent
from pixelrnn.layers.condition import Condition
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS, default_head

every_case = pytest.mark.parametrize("case", TOLD, ids=TOLD_IDS)
every_condition = pytest.mark.parametrize("name", CONDITIONS)
every_network = pytest.mark.parametrize("network", NETWORKS)
ODD = (9, 7)


# ---- one function in both passes


def assert_walked_as_whole(case: tuple, name: str, span: int, *, by_colour: bool = False) -> None:
    model = conditional(case, name)
    images = torch.randint(0, model.levels, (3, model.channels, *ODD))
    given = model.given(3, **something(model, 3))
    whole = model.network(Whole(scale(images, model.levels, torch.float64), given))
    walked = walked_params(model, images, span, given=given, by_colour=by_colour)
    torch.testing.assert_close(walked, whole, rtol=0, atol=1e-12)
    untold = model.network(Whole(scale(images, model.levels, torch.float64)))
    changed = ((whole - untold).abs() > 1e-6).any(1)
    assert changed.double().mean() > 0.5, "the condition matters; a pixel may have lost it in a ReLU"


@every_condition
@every_case
@torch.no_grad()
def test_the_walk_of_a_model_that_is_told_gives_the_parameters_of_the_whole_pass(case: tuple, name: str) -> None:
    assert_walked_as_whole(case, name, 3)


@pytest.mark.parametrize(("span", "by_colour"), [(1, True), (7, False)])
@every_case
@torch.no_grad()
def test_that_holds_for_spans_of_any_width(case: tuple, span: int, by_colour: bool) -> None:
    assert_walked_as_whole(case, "all three", span, by_colour=by_colour)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1), (2, 3)], ids=str)
@every_case
@torch.no_grad()
def test_that_holds_for_images_smaller_than_a_kernel(case: tuple, size: tuple[int, int]) -> None:
    model = conditional(case, "all three")
    images = torch.randint(0, model.levels, (2, model.channels, *size))
    given = model.given(2, size, **something(model, 2, size))
    whole = model.network(Whole(scale(images, model.levels, torch.float64), given))
    torch.testing.assert_close(walked_params(model, images, 1, given=given), whole, rtol=0, atol=1e-12)


# ---- sampling and completion


def known_of(n: int) -> Tensor:
    """A whole row, and for each image a mask of its own: (n, 1, 4, 5)."""
    known = torch.rand(n, 1, *SMALL, generator=torch.Generator().manual_seed(5)) < 0.4
    known[:, :, 1] = True
    return known


WAYS = [
    ("label", 1.0), ("map", 1.0), ("placed vector", 1.0), ("all three", 1.0), ("all three", 2.0), ("all three", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "guidance"), WAYS)
@every_case
def test_cached_and_naive_sampling_give_the_same_images_for_the_same_conditions(
    case: tuple, name: str, guidance: float
) -> None:
    model = conditional(case, name, SMALL)
    told = something(model, 5)
    images = model.sample(5, seed=1, batch_size=2, guidance=guidance, **told)
    naive = model.sample(5, seed=1, batch_size=5, guidance=guidance, method="naive", **told)
    assert torch.equal(images, naive)
    assert not torch.equal(images, model.sample(5, seed=1)), "the condition matters"
    if guidance != 1:
        assert not torch.equal(images, model.sample(5, seed=1, **told)), "its strength matters"


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@every_case
def test_an_image_that_is_told_something_does_not_depend_on_its_company(case: tuple, guidance: float) -> None:
    model = conditional(case, "all three", SMALL)
    told = something(model, 5)
    five = model.sample(5, seed=3, guidance=guidance, **told)
    three = {name: each[:3] for name, each in told.items()}
    assert torch.equal(model.sample(3, seed=3, guidance=guidance, **three), five[:3])
    for batch_size, span in ((1, 1), (2, 5), (4, 2)):
        again = model.sample(5, seed=3, guidance=guidance, batch_size=batch_size, span=span, **told)
        assert torch.equal(again, five)
    others = {name: each.flip(0) for name, each in told.items()}
    assert torch.equal(model.sample(5, seed=3, guidance=guidance, **others)[2], five[2]), "the one in the middle"


@pytest.mark.parametrize("guidance", [1.0, 2.0, 0.5])
@every_case
def test_a_completion_of_images_that_are_told_something_is_that_of_the_oracle(case: tuple, guidance: float) -> None:
    model = conditional(case, "all three", SMALL)
    images, known, told = some_images(model, 5), known_of(5), something(model, 5)
    whole = model.complete(images, known, seed=1, batch_size=2, guidance=guidance, **told)
    assert torch.equal(torch.where(known, whole, images), images)
    naive = model.complete(images, known, seed=1, batch_size=3, guidance=guidance, method="naive", **told)
    assert torch.equal(whole, naive)
    assert not torch.equal(whole, model.complete(images, known, seed=1))


@every_network
def test_the_rows_of_a_guided_sampling_are_those_of_its_images(network: str) -> None:
    model = conditional(("", network, 1, default_head(network, 4), 4), "all three", SMALL)
    told = something(model, 5)
    images = model.sample(5, seed=1, guidance=2.0, batch_size=2, **told)
    rows = list(model.sample_rows(5, seed=1, guidance=2.0, batch_size=2, **told))
    assert [each[:2] for each in rows] == [(first, row) for first in (0, 2, 4) for row in range(4)]
    for first, row, line in rows:
        assert torch.equal(line, images[first : first + 2, :, row])


def test_one_condition_counts_for_every_image() -> None:
    model = conditional(TOLD[0], "all three", SMALL)
    told = something(model, 1)
    many = {name: each.expand(4, *each.shape[1:]) for name, each in told.items()}
    one = {"label": int(told["label"]), "vector": told["vector"][0], "map": told["map"][0]}
    images = some_images(model, 4)
    assert torch.equal(model.log_prob(images, **one), model.log_prob(images, **many))
    assert torch.equal(model.sample(4, seed=0, **one), model.sample(4, seed=0, **many))


# ---- causality, and what a condition reaches


def later(model: PixelModel, row: int, column: int, colour: int, size: tuple[int, int]) -> Tensor:
    """The present and the future of a colour of a pixel: (C, H, W) bool."""
    place = model.network.order(*size)[None]
    here = place[0, row, column]
    return (place > here) | ((place == here) & (torch.arange(model.channels)[:, None, None] >= colour))


@every_case
def test_no_parameter_of_a_model_that_is_told_depends_on_the_present_or_the_future(case: tuple) -> None:
    model = make(case, ODD, layers=2, condition_width=3, map_channels=1)
    network, s = transparent(model), 0.1 * torch.rand(1, 3, *ODD)

    def told(canvas: Whole) -> Tensor:
        return network(Whole(canvas.image, s.expand(len(canvas.image), -1, -1, -1)))

    pixels = list(itertools.product(*map(range, ODD)))
    image, per_part = torch.rand(model.channels, *ODD), model.head.num_params // model.head.passes
    for colour in range(model.head.passes):
        found = gradients(told, pixels, image, slice(colour * per_part, (colour + 1) * per_part))
        for (row, column), gradient in zip(pixels, found, strict=True):
            hidden = later(model, row, column, colour, ODD)
            assert (gradient[hidden] == 0).all(), f"colour {colour} of pixel ({row}, {column})"
            if model.channels == 1:
                declared = model.network.field(row, column, *ODD)
                assert torch.equal(gradient[0] != 0, declared), f"a condition changes nothing: ({row}, {column})"


@every_case
@torch.no_grad()
def test_another_future_moves_no_parameter_of_a_model_that_is_told(case: tuple) -> None:
    model = conditional(case, "all three")
    one, other = (torch.rand(1, model.channels, *ODD) for _ in "12")
    given, order = model.given(1, **something(model, 1)), model.network.order(*ODD)
    params = model.network(Whole(one, given))
    for row, column in [(0, 0), (0, 6), (3, 4), (4, 2), (8, 6)]:
        changed = torch.where(order >= order[row, column], other, one)
        same = model.network(Whole(changed, given))
        first = model.head.num_params // model.head.passes  # of the first colour
        assert torch.equal(same[:, :first, row, column], params[:, :first, row, column])


def reached(model: PixelModel, s: Tensor) -> Tensor:
    """How each parameter group of each pixel changes with s: (pixels, groups, maps, h, w)."""
    network, pixels = transparent(model), list(itertools.product(*map(range, ODD)))
    every = s.expand(len(pixels), -1, -1, -1).clone().requires_grad_()
    image = torch.rand(1, model.channels, *ODD).expand(len(pixels), -1, -1, -1)
    params = network(Whole(image, every))
    rows, columns = torch.tensor(pixels).T
    groups = params[torch.arange(len(pixels)), :, rows, columns].chunk(model.head.passes, 1)
    return torch.stack([torch.autograd.grad(each.sum(), every, retain_graph=True)[0] for each in groups], 1)


@every_case
def test_a_condition_without_a_place_reaches_every_colour_of_every_pixel(case: tuple) -> None:
    model = make(case, ODD, layers=2, condition_width=3, vector_size=2)
    found = reached(model, torch.rand(1, 3, 1, 1))
    assert found.shape == (63, model.head.passes, 3, 1, 1)
    assert (found != 0).all()


@every_case
def test_every_pixel_is_told_of_its_own_place_the_first_one_too(case: tuple) -> None:
    model = make(case, ODD, layers=2, condition_width=3, map_channels=2)
    found = reached(model, torch.rand(1, 3, *ODD))
    for index, (row, column) in enumerate(itertools.product(*map(range, ODD))):
        assert (found[index, :, :, row, column] != 0).all(), f"pixel ({row}, {column})"


@every_case
@torch.no_grad()
def test_a_map_that_is_changed_at_one_place_changes_the_parameters_there(case: tuple) -> None:
    model = conditional(case, "map")
    image, map_ = torch.rand(1, model.channels, *ODD), torch.randn(1, 2, *ODD)
    params = model.network(Whole(image, model.given(1, map=map_)))
    for row, column in [(0, 0), (0, 6), (8, 0), (8, 6), (4, 3)]:
        changed = map_.clone()
        changed[:, :, row, column] += 1
        moved = model.network(Whole(image, model.given(1, map=changed))) - params
        assert (moved[:, :, row, column].abs() > 1e-9).any(), f"({row}, {column})"


BIASED = [
    ("mcgsm", "mcgsm", {"readout.predict": "readout.told_means.conv", "readout.describe": "readout.told.conv"}),
    ("mcgsm", "categorical", {"readout": "told.conv"}),
    ("spatial-lstm", "mcgsm", {f"layers.{index}.inputs.0": f"layers.{index}.inputs.1" for index in (0, 1)}),
    ("spatial-lstm", "categorical", {f"layers.{index}.inputs.0": f"layers.{index}.inputs.1" for index in (0, 1)}),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("network", "head", "layers"), BIASED)
@torch.no_grad()
def test_a_condition_without_a_place_is_a_bias_of_every_layer_that_is_told(
    network: str, head: str, layers: dict[str, str], channels: int
) -> None:
    """Section 2.3 of arXiv 1606.05328: V^T h. The other networks have loops, in `test_fidelity_conditions`."""
    model = conditional(("", network, channels, head, 4), "vector")
    plain, given = without(model), model.given(1, vector=torch.randn(2))
    assert {name for name, _ in model.network.named_parameters()} - {
        name for name, _ in plain.network.named_parameters()
    } == {f"{told}.weight" for told in layers.values()}
    image = torch.rand(1, channels, *ODD)
    expected = model.network(Whole(image, given))
    for layer, told in layers.items():
        untold, biased = plain.network(Whole(image)), plain.network.get_submodule(layer)
        bias = model.network.get_submodule(told).weight[:, :, 0, 0] @ given[0, :, 0, 0]
        biased.bias = torch.nn.Parameter(bias if biased.bias is None else biased.bias + bias)
        assert (plain.network(Whole(image)) - untold).abs().max() > 1e-3, f"{layer} matters"
    torch.testing.assert_close(plain.network(Whole(image)), expected, rtol=0, atol=1e-12)


def test_a_placed_vector_is_another_one_at_every_place() -> None:
    model = conditional(TOLD[0], "placed vector")
    given = model.given(1, vector=torch.randn(2))
    assert given.shape == (1, 3, *ODD)
    assert len(given[0].flatten(1).unique(dim=1).T) == ODD[0] * ODD[1]


# ---- what is left out


@every_condition
@every_case
@torch.no_grad()
def test_a_model_that_is_told_nothing_is_the_model_without_a_condition(case: tuple, name: str) -> None:
    model = conditional(case, name)
    plain = without(model)
    assert plain.condition is None
    images = some_images(model, 3)
    params, expected = (each.network(Whole(scale(images, 4, torch.float64))) for each in (model, plain))
    recurrent = any("inputs.1" in each for each in model.state_dict())  # one product of all inputs: sums in other order
    torch.testing.assert_close(params, expected, rtol=0, atol=1e-12 if recurrent else 0)
    torch.testing.assert_close(model.log_prob(images), plain.log_prob(images), rtol=0, atol=1e-11)
    assert torch.equal(model.sample(2, size=SMALL, seed=0), plain.sample(2, size=SMALL, seed=0))


@every_condition
@every_network
@torch.no_grad()
def test_in_training_a_condition_that_is_dropped_was_never_there_and_in_evaluation_none_is(
    network: str, name: str
) -> None:
    model = conditional(("", network, 1, default_head(network, 4), 4), name, condition_dropout=1 - 1e-12)
    images, told = some_images(model, 4), something(model, 4)
    untold, known = model.log_prob(images), model.log_prob(images, **told)
    assert (untold != known).all()
    assert torch.equal(model.log_prob(images, **told), known), "nothing is drawn in evaluation"
    torch.testing.assert_close(model.train().log_prob(images, **told), untold, rtol=0, atol=1e-12)
    model.condition.dropout = 0.0
    assert torch.equal(model.log_prob(images, **told), known), "no dropout: training is evaluation"
    model.condition.dropout = 1 - 1e-12
    two = {key: each[:2] for key, each in told.items()}
    drawn = model.sample(2, seed=0, **two)
    assert torch.equal(drawn, model.eval().sample(2, seed=0, **two)), "a model in training samples as in evaluation"


@pytest.mark.parametrize("spatial", [False, True])
@torch.no_grad()
def test_in_training_the_stated_share_of_images_is_told_nothing_and_each_kind_is_dropped_by_itself(
    spatial: bool,
) -> None:
    """4000 images: four standard deviations are less than 0.03."""
    condition = Condition(
        (4, 4), 5, classes=3, vector_size=2, map_channels=1, spatial=spatial, dropout=0.3
    ).train()  # fmt: skip
    n = 4000
    told = {"label": torch.zeros(n).long(), "vector": torch.randn(1, 2).expand(n, -1), "map_": torch.randn(1, 1, 4, 4)}
    told["map_"] = told["map_"].expand(n, -1, -1, -1)
    every = condition(**told)
    kinds, times = every.flatten(1).round(decimals=9).unique(dim=0, return_counts=True)
    shares = {}
    for chosen in itertools.product((True, False), repeat=3):
        some = {key: each[:1] if use else None for (key, each), use in zip(told.items(), chosen, strict=True)}
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
            torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0), rtol=0, atol=1e-12)
        assert (found[0] - found[1]).abs().max() > 1e-3, "labels matter"


@every_network
@torch.no_grad()
def test_the_probability_of_a_label_is_bayes_rule(network: str) -> None:
    model = conditional(("", network, 1, default_head(network, 4), 4), "all three", SMALL)
    images, told = some_images(model, 4), something(model, 4)
    rest = {"vector": told["vector"], "map": told["map"]}
    for prior, counts in (([1, 6, 3], None), (None, None), (None, [5, 0, 15]), ([2, 1, 1], [5, 0, 15])):
        model.about = {} if counts is None else {"class_counts": counts}
        weights = prior or counts or [1, 1, 1]
        found = model.label_log_prob(images, prior=prior, **rest)
        assert found.shape == (4, 3)
        for index in range(4):
            mine = {key: each[index : index + 1] for key, each in rest.items()}
            joint = [
                weights[label] / sum(weights) * model.log_prob(images[index : index + 1], label=label, **mine).exp()
                for label in range(3)
            ]
            expected = torch.cat(joint) / sum(joint)
            torch.testing.assert_close(found[index].exp(), expected, rtol=1e-10, atol=1e-12)
        assert torch.equal(model.classify(images, prior=prior, **rest), found.argmax(1))


# ---- guidance


@torch.no_grad()
def guided_world(model: PixelModel, strength: float, **told: object) -> tuple[Tensor, Tensor]:
    """All images and how probable each is, guided: pixel by pixel, level by level, by the untold and told nats."""
    every = all_images(model.channels, *model.size, model.levels)
    total = torch.ones(len(every))
    for channel, row, column in itertools.product(range(model.channels), *map(range, model.size)):
        weights = []
        for level in range(model.levels):
            other = every.clone()
            other[:, channel, row, column] = level
            with_, without_ = (
                model.log_prob(other, reduce=False, **each)[:, channel, row, column].exp() for each in (told, {})
            )
            weights.append(without_ * (with_ / without_) ** strength)
        stacked = torch.stack(weights, 1) / sum(weights)[:, None]
        total *= stacked.gather(1, every[:, channel, row, column, None])[:, 0]
    return every, total


@pytest.mark.parametrize("guidance", [2.0, 0.5])
@pytest.mark.parametrize(("channels", "size"), [(1, (2, 2)), (3, (1, 2))], ids=str)
@every_network
def test_guided_samples_come_up_as_often_as_the_guided_probabilities_say(
    network: str, channels: int, size: tuple[int, int], guidance: float
) -> None:
    model = attentive(make(("", network, channels, default_head(network, 2), 2), size, layers=2, classes=2))
    n = 8000
    every, probabilities = guided_world(model, guidance, label=1)
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0), rtol=0, atol=1e-12)
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
        told, untold = model.log_prob(every, label=1).exp(), model.log_prob(every).exp()
    found = count(model.sample(n, seed=0, label=1, batch_size=n), every)
    assert as_often(found, n * told)
    assert not as_often(found, n * untold)


@every_case
def test_guidance_one_is_the_condition_and_zero_is_none(case: tuple) -> None:
    model = conditional(case, "all three", SMALL)
    told = something(model, 4)
    plain, untold = model.sample(4, seed=0, **told), model.sample(4, seed=0)
    assert torch.equal(model.sample(4, seed=0, guidance=1.0, **told), plain)
    assert torch.equal(model.sample(4, seed=0, guidance=1 + 1e-12, **told), plain), "by way of the formula"
    assert torch.equal(model.sample(4, seed=0, guidance=0.0, **told), untold)
    assert torch.equal(model.sample(4, seed=0, guidance=3.0), untold), "nothing is told, so nothing is exaggerated"
    assert not torch.equal(plain, untold)
