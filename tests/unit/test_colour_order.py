"""A model that generates its channels in another order is the same model of permuted images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pixelrnn
from pixelrnn.errors import ConfigError
from pixelrnn.model import PixelModel

ORDER = [1, 2, 0]
BACK = [2, 0, 1]


def pair() -> tuple[PixelModel, PixelModel]:
    """A model with an order of colours, and one without that has the same weights."""
    options = {"size": (5, 4), "channels": 3, "levels": 4, "layers": 1, "width": 6, "classes": 2}
    model, plain = (
        pixelrnn.build("pixelcnn", **options, **more).double().eval() for more in ({"colour_order": ORDER}, {})
    )
    for weight in model.parameters():
        weight.data *= 3
    plain.load_state_dict(model.state_dict())
    return model, plain


def test_likelihoods_belong_to_the_channels_that_were_given() -> None:
    model, plain = pair()
    images = torch.randint(0, 4, (3, 3, 5, 4))
    found = model.log_prob(images, reduce=False)
    assert torch.equal(found[:, ORDER], plain.log_prob(images[:, ORDER], reduce=False))


@pytest.mark.parametrize("method", ["cached", "naive", "compiled"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_samples_and_completions_have_their_channels_in_place(method: str, guidance: float) -> None:
    model, plain = pair()
    settings = {"seed": 1, "method": method, "label": 1, "guidance": guidance}
    assert torch.equal(model.sample(3, **settings), plain.sample(3, **settings)[:, BACK])
    images, known = torch.randint(0, 4, (3, 3, 5, 4), dtype=torch.uint8), torch.rand(5, 4) < 0.5
    found = model.complete(images, known, **settings)
    assert torch.equal(found, plain.complete(images[:, ORDER], known, **settings)[:, BACK])
    assert torch.equal(found[:, :, known], images[:, :, known])


def test_rows_are_those_of_the_image() -> None:
    model, _ = pair()
    whole = model.sample(2, seed=1)
    for _, row, pixels in model.sample_rows(2, seed=1):
        assert torch.equal(pixels, whole[:, :, row])


def test_it_is_saved(tmp_path: Path) -> None:
    model, _ = pair()
    model.save(tmp_path / "model")
    found = pixelrnn.load(tmp_path / "model")
    assert found.colour_order == ORDER
    assert torch.equal(found.sample(1, seed=0), model.sample(1, seed=0))


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3], "rgb", 5])
def test_what_is_no_order_is_refused(order: object) -> None:
    with pytest.raises(ConfigError, match="colour_order must name the channels"):
        pixelrnn.build("pixelcnn", size=(5, 4), channels=3, levels=4, layers=1, width=6, colour_order=order)
