"""Work that cannot end well is refused before it begins: memory that is not there, weights that are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from models import images_of, small

import pixelrnn
from pixelrnn.checks import check_memory
from pixelrnn.data import load_data
from pixelrnn.errors import ConfigError, MemoryLimitError, ModelError
from pixelrnn.measure.evaluation import evaluate
from pixelrnn.networks import NETWORKS


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["cached", "naive"])
@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_that_are_not_finite_are_an_error_that_names_network_and_pixel(
    network: str, method: str, value: float
) -> None:
    model = small(network)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.fill_(value)
    says = r"finite for the pixel in row 0, column 0 of image 0: its weights are damaged"
    with pytest.raises(ModelError, match=says):
        model.sample(2, seed=0, method=method)
    known = torch.zeros(model.size, dtype=torch.bool)
    with pytest.raises(ModelError, match=says):
        model.complete(images_of(model), known, seed=0, method=method)


def test_an_evaluation_with_weights_that_are_not_finite_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("pixelcnn", size=(8, 8), levels=17)
    data = load_data("digits", "test")
    assert evaluate(model, data, count=10).nats > 0
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(ModelError, match=r"PixelCNN gave no finite log-probability to the pixel in row 0, column 0"):
        evaluate(model, data, count=10)


def test_the_pixel_that_is_named_is_the_first_that_went_wrong() -> None:
    model = small("pixelcnn", size=(4, 4))
    forward = type(model.network).forward

    def broken(canvas):  # noqa: ANN001, ANN202
        params = forward(model.network, canvas).clone()
        if getattr(canvas, "region", None) is not None and canvas.region.row == 2:
            params[..., -1] = math.nan  # the last image of the last pixel of the region
        return params

    model.network.forward = broken
    with pytest.raises(ModelError, match=r"PixelCNN gave .* row 2, column 0 of image 2"):
        model.sample(3, seed=0, span=1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda model: model.sample(10**12), r"1000000000000 images of 5 x 4 would need at least [\d,.]+ GiB"),
        (lambda model: model.sample(1, size=(10**9, 10**9)), r"1 images of 1000000000 x 1000000000 would need"),
        (lambda model: model.sample(10, size=(1, 10**9), batch_size=10), r"would need at least [\d,.]+ GiB of memory"),
        (lambda model: model.sample_rows(1, size=(10**6, 10**6)), "would need at least"),
    ],
    ids=["count", "size", "one long row", "rows"],
)
def test_what_would_not_fit_into_memory_is_refused_with_the_figure(call: object, says: str) -> None:
    with pytest.raises(MemoryLimitError, match=says):
        call(small("gated-pixelcnn"))


def test_a_limit_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("pixelcnn", size=(8, 8))
    images = model.sample(2, seed=0)
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", "3000")
    for call in (lambda: model.sample(8, seed=0), lambda: model.log_prob(images.repeat(100, 1, 1, 1))):
        with pytest.raises(MemoryLimitError, match=r"but 0\.0 GiB are free. Take fewer"):
            call()
    assert torch.equal(model.sample(2, seed=0), images), "what fits is done"
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", "much")
    with pytest.raises(ConfigError, match="number of bytes, not 'much'"):
        check_memory("Anything", 1, torch.device("cpu"))


def test_the_memory_of_a_walk_over_wide_images_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that layers keep grow with the width: a limit between the images and the walk refuses the walk."""
    model = small("gated-pixelcnn", layers=8, width=16)
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", "100_000_000".replace("_", ""))
    with pytest.raises(MemoryLimitError, match="To draw 1 images of 1 x 1000000 at a time would need"):
        model.sample(1, size=(1, 1_000_000), batch_size=1)


def test_map_is_accepted_for_condition_map_with_a_warning() -> None:
    model = pixelrnn.build("pixelcnn", size=(5, 4), levels=4, layers=1, width=4, map_channels=1).eval()
    images, degraded = images_of(model), torch.randn(2, 1, 5, 4)
    expected = model.log_prob(images, condition_map=degraded)
    for call in (model.log_prob, model.bits_per_dim):
        with pytest.warns(FutureWarning, match="map= is now called condition_map="):
            call(images, map=degraded)
    with pytest.warns(FutureWarning, match="condition_map="):
        assert torch.equal(model.log_prob(images, map=degraded), expected)
    with pytest.warns(FutureWarning, match="condition_map="):
        drawn = model.sample(2, seed=0, map=degraded)
    assert torch.equal(drawn, model.sample(2, seed=0, condition_map=degraded))
