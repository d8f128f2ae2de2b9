"""Contract: the generation order is a value. A network that takes any order is right along every one of them."""

from __future__ import annotations

import pytest
import torch
from cases import BY_ROWS, SMALL, RecordedRows, make, some_images
from close import assert_close
from toys import AnyOrder, TwoResolutions, with_network
from walks import walked_params
from worlds import all_images, as_often, count

from pixelrnn.canvas import Incremental, Order, Region, Whole, known_first, scale
from pixelrnn.errors import CausalityError, ConfigError
from pixelrnn.measure.inspection import prove_causal, seen_by
from pixelrnn.model import PixelModel


def any_order(size: tuple[int, int], channels: int = 1, levels: int = 3) -> PixelModel:
    model = make(("", "pixelcnn", channels, "categorical", levels), size)
    return with_network(model, AnyOrder(model.head, height=size[0], width=size[1]))


def some_orders(size: tuple[int, int]) -> dict[str, Order]:
    height, width = size
    place = torch.arange(height * width).reshape(height, width)
    drawn = torch.randperm(height * width, generator=torch.Generator().manual_seed(1))
    return {
        "raster": Order.raster(height, width),
        "from the last pixel to the first": Order.from_ranks(place.flip(0, 1)),
        "columns": Order.from_ranks(torch.arange(height * width).reshape(width, height).T),
        "drawn": Order.from_ranks(drawn.reshape(height, width)),
    }


every_order = pytest.mark.parametrize("name", some_orders(SMALL))


@every_order
def test_runs_are_the_order_in_pieces(name: str) -> None:
    order = some_orders(SMALL)[name]
    runs = list(order.runs())
    assert torch.cat(runs).tolist() == order.ranks.flatten().argsort().tolist()
    assert order.is_raster == (name == "raster")
    assert all((run.diff() == 1).all() and run[0] // 5 == run[-1] // 5 for run in runs), "along a row"
    if name == "raster":
        assert [len(run) for run in runs] == [5, 5, 5, 5]
    assert torch.equal(Order.from_ranks(order.ranks).ranks, order.ranks)


@pytest.mark.parametrize("ranks", [torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([[0, 1], [2, 4]])], ids=str)
def test_ranks_that_are_no_order_are_refused(ranks: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="each of"):
        Order.from_ranks(ranks)


def test_what_an_order_keeps_can_be_used_for_gradients() -> None:
    """Also if it was asked for first while images were drawn."""
    with torch.inference_mode():
        order = Order.from_ranks(torch.tensor([[3, 1], [0, 2]]))
        kept = [order.ranks, order.earlier_neighbours(3, 1, itself=True), Order.raster(3, 5).ranks]
    assert not any(each.is_inference() for each in kept)
    assert order.ranks.tolist() == [[3, 1], [0, 2]]


@every_order
@torch.no_grad()
def test_probabilities_along_any_order_sum_to_one(name: str) -> None:
    model = any_order((2, 3), levels=2)
    order = Order.from_ranks(some_orders((2, 3))[name].ranks)
    nats = model.log_prob(all_images(1, 2, 3, 2), order=order)
    torch.testing.assert_close(nats.exp().sum(), torch.tensor(1.0))
    if name != "raster":
        assert not torch.allclose(nats, model.log_prob(all_images(1, 2, 3, 2))), "another order, other conditionals"


@every_order
@pytest.mark.parametrize("channels", [1, 3])
def test_cached_and_naive_sampling_and_completion_agree_along_any_order(name: str, channels: int) -> None:
    model, order = any_order(SMALL, channels), some_orders(SMALL)[name]
    expected = model.sample(4, seed=0, order=order, method="naive")
    for span, batch_size in ((1, 4), (3, 2), (None, 3)):
        assert torch.equal(model.sample(4, seed=0, order=order, span=span, batch_size=batch_size), expected)
    images, known = some_images(model, 3), torch.rand(3, 1, *SMALL) < 0.5
    completed = model.complete(images, known, seed=1, order=order)
    assert torch.equal(completed, model.complete(images, known, seed=1, order=order, method="naive"))
    assert torch.equal(torch.where(known, completed, images), images)


@pytest.mark.parametrize("lengths", [(20,), (7, 13), (1,) * 20, (5, 5, 5, 5)], ids=str)
@every_order
def test_runs_of_any_length_give_the_same_images_and_rows(name: str, lengths: tuple[int, ...]) -> None:
    model, order = any_order(SMALL, 3), some_orders(SMALL)[name]
    cut = Order(SMALL, order.ranks.flatten().argsort(), lengths)
    assert [len(run) for run in cut.runs()] == list(lengths)
    recorded = RecordedRows(4, model)
    images = model.sample(4, seed=0, order=cut, batch_size=3, on_row=recorded)
    assert torch.equal(images, model.sample(4, seed=0, order=order, method="naive"))
    assert torch.equal(recorded.images, images), "rows come when they are final, whole"
    assert recorded.calls == [(first, row) for first in (0, 3) for row in range(4)]


@pytest.mark.parametrize("lengths", [(19,), (20, 0), (25, -5), ()], ids=str)
def test_runs_that_do_not_add_up_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="must add up to all of them"):
        Order(SMALL, None, lengths)


@every_order
def test_causality_is_proved_along_the_order_that_is_asked_for(name: str) -> None:
    model, order = any_order(SMALL, 3), some_orders(SMALL)[name]
    prove_causal(model, SMALL, order)
    seen = seen_by(model, 2, 1, SMALL, order)
    assert torch.equal(seen, order.ranks < order.ranks[2, 1])
    if name != "raster":
        model.network.orders = "any"
        model.network.forward = lambda canvas: type(model.network).forward(model.network, Whole(canvas.image))
        with pytest.raises(CausalityError):
            prove_causal(model, SMALL, order)


def test_a_completion_along_known_first_has_the_conditional_probabilities_for_any_mask() -> None:
    """The known pixel comes last in raster order, and is seen all the same."""
    n, model = 6000, any_order((1, 3), levels=3)
    known = torch.tensor([[False, False, True]])
    order = known_first(known)
    assert order.ranks.tolist() == [[1, 2, 0]]
    every = all_images(1, 1, 3, 3)
    with torch.no_grad():
        probabilities = model.log_prob(every, order=order).exp()
        raster = model.log_prob(every).exp()
    fits = every[:, 0, 0, 2] == 1
    images = torch.ones(n, 1, 1, 3, dtype=torch.uint8)
    found = count(model.complete(images, known, seed=0, order=order, batch_size=n), every[fits])
    assert as_often(found, n * probabilities[fits] / probabilities[fits].sum())
    assert not as_often(found, n * raster[fits] / raster[fits].sum())


@pytest.mark.parametrize("case", BY_ROWS, ids=lambda case: case[0])
def test_a_network_of_one_order_takes_that_order_and_refuses_others(case: tuple) -> None:
    model = make(case, SMALL)
    own = model.network.order(*SMALL)
    images = model.sample(2, seed=0)
    assert torch.equal(model.sample(2, seed=0, order=own), images)
    with torch.no_grad():
        assert torch.equal(model.log_prob(images, order=own), model.log_prob(images))
    other = Order.from_ranks(own.ranks.flip(0, 1))
    for call in (
        lambda: model.sample(1, order=other),
        lambda: model.log_prob(images, order=other),
        lambda: model.complete(images, torch.zeros(SMALL, dtype=torch.bool), order=other),
        lambda: prove_causal(model, SMALL, other),
        lambda: next(model.sample_rows(1, order=other)),
    ):
        with pytest.raises(ConfigError, match="order only"):
            call()
    with pytest.raises(ConfigError, match="for images of 3x3, but they are 4x5"):
        model.sample(1, order=Order.raster(3, 3))


@pytest.mark.parametrize("size", [(9, 7), (1, 1), (1, 6), (6, 1), (2, 3), (8, 8)], ids=str)
@pytest.mark.parametrize(
    ("channels", "span", "by_colour"), [*((c, span, False) for c in (1, 3) for span in (1, 2, 3, 8)), (3, 1, True)]
)
@torch.no_grad()
def test_a_coarser_level_of_a_walk_gives_the_parameters_of_the_whole_pass(
    size: tuple[int, int], channels: int, span: int, by_colour: bool
) -> None:
    model = make(("", "pixelcnn", channels, "categorical", 3), size)
    model = with_network(model, TwoResolutions(model.head, 2))
    images, s = torch.randint(0, 3, (3, channels, *size)), torch.randn(3, 2, *size)
    whole = model.network(Whole(scale(images, 3, torch.float64), s))
    walked = walked_params(model, images, span, by_colour=by_colour, condition_map=s)
    assert_close(walked, whole)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_two_resolutions_samples_and_is_causal(channels: int) -> None:
    model = make(("", "pixelcnn", channels, "categorical", 3), (5, 6))
    model = with_network(model, TwoResolutions(model.head))
    prove_causal(model, (5, 6))
    images = model.sample(16, seed=0)
    assert torch.equal(images, model.sample(16, seed=0, method="naive"))
    assert torch.equal(images, model.sample(16, seed=0, span=4, batch_size=7))


@torch.no_grad()
def test_what_a_coarser_level_computes_for_the_images_at_work_is_there_in_the_next_row() -> None:
    """Four images have right guesses and rest; the other two are run again, and all go on in the odd row."""
    model = make(("", "pixelcnn", 1, "bernoulli", 2), (4, 6))
    model = with_network(model, TwoResolutions(model.head))
    pixels = scale(torch.randint(0, 2, (6, 1, 4, 6)), 2, torch.float64)
    whole = model.network(Whole(pixels))
    canvas, late = Incremental((6, 1, 4, 6), torch.float64, pixels.device), torch.tensor([1, 2])
    guess = pixels[:, :, 0].clone()
    guess[late] *= -1
    canvas.begin(Region(0, 0, 6))
    canvas.write(guess)
    canvas.run(model.network)
    canvas.only(late)
    canvas.write(pixels[late, :, 0])
    canvas.begin(Region(0, 0, 6))
    canvas.run(model.network)
    canvas.begin(Region(1, 0, 6))
    canvas.write(pixels[:, :, 1])
    assert_close(canvas.run(model.network)[:, :, 0], whole[:, :, 1])
