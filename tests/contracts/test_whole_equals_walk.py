"""Contract 1: the whole pass and the walk are one function."""

from __future__ import annotations

import pytest
import torch
from cases import CASES, IDS, in_turn, make
from close import assert_close
from walks import walked_params

from pixelrnn.canvas import Incremental, Region, Whole, scale


@in_turn("case, span", CASES, [1, 3, 7])
@torch.no_grad()
def test_the_walk_gives_the_parameters_of_the_whole_pass(case: tuple, span: int) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (3, model.channels, 9, 7))
    whole = model.network(Whole(scale(images, model.levels, torch.float64)))
    assert_close(walked_params(model, images, span), whole)


@in_turn("case, size", CASES, [(1, 1), (1, 6), (2, 3), (6, 1)])
@torch.no_grad()
def test_images_smaller_than_a_kernel_are_no_exception(case: tuple, size: tuple[int, int]) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (2, model.channels, *size))
    whole = model.network(Whole(scale(images, model.levels, torch.float64)))
    assert_close(walked_params(model, images, 1), whole)


@torch.no_grad()
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_stands_in_the_rest_of_the_walks_image_does_not_matter_when_colours_are_walked_one_by_one(
    case: tuple,
) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (2, model.channels, 5, 4))
    whole = model.network(Whole(scale(images, model.levels, torch.float64)))
    assert_close(walked_params(model, images, 1, by_colour=True), whole)


def test_a_module_used_twice_in_one_pass_is_refused() -> None:
    canvas, module = Whole(torch.zeros(1, 1, 3, 3)), torch.nn.Identity()
    from pixelrnn.canvas import Reach

    canvas.window(module, canvas.image, Reach(1, 0, 1, 1))
    with pytest.raises(AssertionError, match="twice"):
        canvas.window(module, canvas.image, Reach(1, 0, 1, 1))


def test_the_memory_of_a_walk_grows_with_the_width_and_not_with_the_height() -> None:
    model = make(CASES[0])

    def kept(height: int) -> int:
        canvas = Incremental((1, 1, height, 8), torch.float64, torch.device("cpu"))
        with torch.no_grad():
            for row in range(height):
                canvas.begin(Region(row, 0, 8))
                canvas.run(model.network)
        return canvas.memory

    assert kept(24) == kept(6)
