"""Work that cannot end well is refused before it begins: memory that is not there, weights that are not finite."""

from __future__ import annotations

import math
import re
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch
from models import images_of, small
from PIL import Image
from torch.profiler import ProfilerActivity, profile

import pixelrnn
from pixelrnn.checks import check_memory
from pixelrnn.data import load_data, picture_folder
from pixelrnn.errors import ConfigError, MemoryLimitError, ModelError
from pixelrnn.measure.evaluation import evaluate
from pixelrnn.networks import NETWORKS
from pixelrnn.sampling import memory
from pixelrnn.training import prepare
from pixelrnn.training.machine import Machine
from pixelrnn.training.memory import kept_for_backward
from pixelrnn.training.presets import load_preset
from pixelrnn.training.run import train


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
        (
            lambda model: model.sample(2, size=(1, 10**8), batch_size=2),
            r"draw 2 images of 1 x 100000000 at a time would need at least [\d,.]+ GiB of memory",
        ),
        (lambda model: model.sample_rows(1, size=(10**6, 10**6)), "would need at least"),
    ],
    ids=["count", "size", "one long row", "rows"],
)
def test_what_would_not_fit_into_memory_is_refused_with_the_figure(
    call: object, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", str(1 << 30))  # the images themselves fit into it
    with pytest.raises(MemoryLimitError, match=says):
        call(small("gated-pixelcnn"))


def test_a_limit_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("pixelcnn", size=(8, 8))
    images = model.sample(2, seed=0)
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", "3000")
    for call in (lambda: model.sample(8, seed=0), lambda: model.log_prob(images.repeat(100, 1, 1, 1))):
        with pytest.raises(MemoryLimitError, match=r"but 0\.0 GiB are free. Use fewer"):
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


@pytest.mark.parametrize(
    ("network", "order"),
    [("pixel-transformer", None), ("pixel-transformer", "s-curve-3"), ("pixelsnail", None), ("lmconv", None)],
)
def test_what_a_walk_allocates_is_what_was_counted(
    network: str, order: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps, keys and values of all pixels, and their copies while the room for them grows."""
    counted: list[int] = []
    monkeypatch.setattr(memory, "_MANY_COLUMNS", 0)
    monkeypatch.setattr(memory, "check_memory", lambda what, needed, device: counted.append(needed))
    model = small(network, size=(9, 7))  # room grows once more for the last one of 63 pixels
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        model.sample(32, seed=0, method="cached", order=order)
    changes = [event.nbytes() for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    (needed,) = counted
    assert 0.5 < max(accumulate(changes)) / needed < 1.1


# ---- training


def test_a_step_that_keeps_all_pairs_of_pixels_is_counted_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    counted: list[int] = []
    monkeypatch.setattr(prepare, "check_memory", lambda what, needed, device: counted.append(needed))
    preset = load_preset("mnist-pixelsnail", ["batch_size=1", "precision=32", "blocks=1", "layers=1", "width=8"])
    prepare.check_fits_memory(preset, (1, 1, 48, 48), Machine("cpu"))
    (estimated,) = counted
    model = prepare._build(preset, (48, 48), 1)
    assert 0.9 < estimated / kept_for_backward(model, bf16=False) < 1.1


@pytest.mark.parametrize("network", NETWORKS)
def test_what_a_step_keeps_grows_with_the_pixels(network: str) -> None:
    """So what a batch of large pictures needs is known from a small one."""
    torch.set_default_dtype(torch.float32)
    least = 8 * 8 * 4 * 4  # of 8 x 8 pixels, the parameters of 4 levels in 4 bytes
    small_one, large_one = (
        kept_for_backward(small(network, size=(side, side)).train().float(), bf16=False) for side in (8, 32)
    )
    assert least <= small_one
    most = 16**2 if network == "pixelsnail" else 16  # its attention keeps a weight for every pair of pixels
    assert 8 * small_one < large_one <= most * small_one, "16 times the pixels, and less of a border, if there is one"


def test_pictures_that_are_too_large_for_a_step_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_default_dtype(torch.float32)
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.new("L", (10, 10), number).save(tmp_path / "photos" / f"{number}.png")
    preset = load_preset("digits", [f"data.name={tmp_path / 'photos'}", "size=[2000, 2000]", "levels=16", "epochs=1"])
    monkeypatch.setattr(picture_folder, "decode", lambda *_, **__: pytest.fail("was decoded"))
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", str(10**10))
    says = (
        r"step on 16 images of 2000 x 2000, besides 16 decoded pictures of 2000 x 2000, would need at least [\d,.]+ GiB"
    )
    with pytest.raises(MemoryLimitError, match=says) as error:
        train(preset, tmp_path / "run", machine=Machine("cpu"))
    needed = float(re.search(r"at least ([\d,.]+)", str(error.value))[1].replace(",", ""))
    assert 100 < needed < 1000, "GiB for 16 x 4 million pixels: some thousand bytes a pixel"
    assert not (tmp_path / "run").exists()


def test_arrays_that_are_too_large_for_a_step_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (10, 100, 100), dtype=np.uint8))
    preset = load_preset("digits", [f"data.name={tmp_path / 'a.npy'}", "levels=16", "epochs=1", "batch_size=4"])
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", str(10**8))
    with pytest.raises(MemoryLimitError, match="step on 4 images of 100 x 100 would need at least"):
        train(preset, tmp_path / "run", machine=Machine("cpu"))


def test_a_step_on_gpus_counts_the_share_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded pictures are in the memory of the machine, and a step in that of each GPU."""
    torch.set_default_dtype(torch.float32)
    asked: list[tuple[str, int, str]] = []
    monkeypatch.setattr(prepare, "check_memory", lambda what, needed, device: asked.append((what, needed, device.type)))
    preset = load_preset("digits", ["batch_size=32"])
    for devices in (1, 4):
        prepare.check_fits_memory(preset, (50, 1, 100, 100), Machine("cpu", devices), decoded=7)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    prepare.check_fits_memory(preset, (50, 1, 100, 100), Machine("cuda", 4), decoded=7)
    (_, one, _), (_, four, _), (what, share, kind), (decoded, bytes_, where) = asked
    assert (one, kind, where, bytes_) == (four, "cuda", "cpu", 7)
    assert share == (one - 7) // 4
    assert "step on 8 images" in what
    assert "50 decoded pictures" in decoded


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
