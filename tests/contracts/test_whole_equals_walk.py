"""Contract 1: the whole pass and the walk are one function."""

from __future__ import annotations

import pytest
import torch
from cases import CASES, IDS, make
from torch import Tensor

from pixelrnn.canvas import Region, Walk, Whole, scale
from pixelrnn.model import PixelModel


def walked_params(model: PixelModel, images: Tensor, span: int, *, by_colour: bool = False) -> Tensor:
    """The parameters of known images, `span` pixels of a row at a time, stage by stage.

    by_colour does it as sampling does: a pass per colour, with later colours (and pixels) not yet written.
    """
    everything = scale(images, model.levels, torch.float64)
    params = torch.full((len(images), model.head.num_params, *images.shape[2:]), torch.nan)
    for stage in model.network.stages():
        pixels = everything[:, :, :: stage.step, :: stage.step]
        canvas = Walk(tuple(pixels.shape), torch.float64, images.device, stage.given(pixels) if stage.given else None)
        found = torch.zeros(len(images), model.head.num_params, *pixels.shape[2:])
        for row in range(pixels.shape[2]):
            for column in range(0, pixels.shape[3], span):
                here = Region(row, column, min(span, pixels.shape[3] - column))
                place = (..., row, slice(column, column + here.width))
                for channel in range(model.channels):
                    canvas.begin(here)
                    if by_colour:
                        part = slice(channel * model.head.num_params // model.channels, None)
                        found[:, part][place] = canvas.run(stage.network)[:, part, 0]
                    canvas.begin(here)
                    canvas.write(pixels[:, channel : channel + 1][place], channel)
                canvas.begin(here)
                if not by_colour:
                    found[place] = canvas.run(stage.network)[:, :, 0]
        part = params[:, :, :: stage.step, :: stage.step]
        part.copy_(torch.where(part.isnan(), found, part))
    return params


@pytest.mark.parametrize("span", [1, 3, 7])
@pytest.mark.parametrize("case", CASES, ids=IDS)
@torch.no_grad()
def test_the_walk_gives_the_parameters_of_the_whole_pass(case: tuple, span: int) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (3, model.channels, 9, 7))
    whole = model.network(Whole(scale(images, model.levels, torch.float64)))
    torch.testing.assert_close(walked_params(model, images, span), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1), (2, 3)])
@pytest.mark.parametrize("case", CASES, ids=IDS)
@torch.no_grad()
def test_images_smaller_than_a_kernel_are_no_exception(case: tuple, size: tuple[int, int]) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (2, model.channels, *size))
    whole = model.network(Whole(scale(images, model.levels, torch.float64)))
    torch.testing.assert_close(walked_params(model, images, 1), whole, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_stands_in_the_rest_of_the_walks_image_does_not_matter_when_colours_are_walked_one_by_one(
    case: tuple,
) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (2, model.channels, 5, 4))
    whole = model.network(Whole(scale(images, model.levels, torch.float64)))
    torch.testing.assert_close(walked_params(model, images, 1, by_colour=True), whole, rtol=0, atol=1e-12)


def test_a_module_used_twice_in_one_pass_is_refused() -> None:
    canvas, module = Whole(torch.zeros(1, 1, 3, 3)), torch.nn.Identity()
    from pixelrnn.canvas import Reach

    canvas.window(module, canvas.image, Reach(1, 0, 1, 1))
    with pytest.raises(AssertionError, match="twice"):
        canvas.window(module, canvas.image, Reach(1, 0, 1, 1))


def test_the_memory_of_a_walk_grows_with_the_width_and_not_with_the_height() -> None:
    model = make(CASES[0])

    def kept(height: int) -> int:
        canvas = Walk((1, 1, height, 8), torch.float64, torch.device("cpu"))
        with torch.no_grad():
            for row in range(height):
                canvas.begin(Region(row, 0, 8))
                canvas.run(model.network)
        return canvas.memory

    assert kept(24) == kept(6)
