"""Multi-Scale PixelRNN: options that make no sense are refused, more scales than pixels are no exception."""

from __future__ import annotations

import pytest
import torch
from multiscale import SIZE, all_variants, both_bodies, model_of

import pixelrnn
from pixelrnn.canvas import Incremental, Region
from pixelrnn.errors import ConfigError


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("body", "pixelcnn"),
        ("body", "multiscale"),
        ("body", ""),
        ("body", 1),
        ("factor", 1),
        ("factor", 0),
        ("factor", -2),
        ("factor", 2.0),
        ("factor", True),
        ("factor", 65),
        ("images", 1),
        ("images", 0),
        ("images", 9),
        ("images", "2"),
        ("kernel", 3),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=option):
        pixelrnn.build("multiscale", size=(8, 8), levels=2, layers=1, width=4, **{option: value})


def test_an_unknown_body_is_answered_with_the_known_ones() -> None:
    for body, answer in [("row_lstm", "mean 'row-lstm'"), ("transformer", "diagonal-bilstm, row-lstm")]:
        with pytest.raises(ConfigError, match=answer):
            pixelrnn.build("multiscale", size=(8, 8), levels=2, layers=1, width=4, body=body)


@pytest.mark.parametrize(
    ("size", "options"),
    [((5, 4), {"images": 8}), ((3, 3), {"images": 8, "factor": 3}), ((2, 2), {"factor": 64}), ((1, 1), {"images": 5})],
    ids=str,
)
@both_bodies
def test_scales_beyond_an_image_of_one_pixel_are_no_exception(body: str, size: tuple[int, int], options: dict) -> None:
    model = model_of(body, size, layers=1, **options)
    assert len(model.network.stages()) == options.get("images", 2)
    assert model.network.order(*size).ranks.flatten().sort().values.tolist() == list(range(size[0] * size[1]))
    images = model.sample(3, seed=0)
    assert torch.equal(model.sample(3, seed=0, method="naive"), images)
    assert model.log_prob(images).isfinite().all()
    if size == (2, 2):
        return
    known = torch.rand(3, 1, *size) < 0.5
    whole = model.complete(images, known, seed=1)
    assert torch.equal(model.complete(images, known, seed=1, method="naive"), whole)


@all_variants
@both_bodies
@torch.no_grad()
def test_the_network_refuses_to_be_walked_at_once(body: str, variant: dict) -> None:
    network = model_of(body, **variant).network
    canvas = Incremental((1, 1, *SIZE), torch.float64, torch.device("cpu"))
    canvas.begin(Region(0, 0, 1))
    with pytest.raises(AssertionError, match="stage by stage"):
        network(canvas)
