"""What comes before a training run: the images and the model of a preset, and whether they fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import pixelrnn
from pixelrnn.canvas import family_of
from pixelrnn.checks import check_memory
from pixelrnn.data import ImageData, Levels, ProgressCallback, Shape, a_few, load_data, without_classes
from pixelrnn.errors import ConfigError
from pixelrnn.layers.normalised import NormalisedConv2d, fitted
from pixelrnn.model import PixelModel
from pixelrnn.model.conditions import LABELS_HINT, condition_of
from pixelrnn.networks import NETWORKS
from pixelrnn.training.batches import PixelBatches
from pixelrnn.training.machine import Machine
from pixelrnn.training.memory import kept_for_backward
from pixelrnn.training.presets import Preset


def load_for(
    preset: Preset,
    split: str,
    download: ProgressCallback | None = None,
    on_pictures: Callable[[Shape], None] = lambda _: None,
) -> ImageData:
    """One split of a preset's data; `download` and `on_pictures` as in `load_data`."""
    size = (preset.data.size[0], preset.data.size[1]) if len(preset.data.size) == 2 else None
    if preset.data.size and size is None:
        raise ConfigError(f"data.size must be [H, W], not {preset.data.size}.")
    data = load_data(
        preset.data.name,
        split,
        size=size,
        channels=preset.data.channels or None,
        skip_broken=preset.data.skip_broken,
        progress=download,
        on_pictures=on_pictures,
    )
    data = without_classes(data, preset.data.leave_out)
    return dataclasses.replace(data, values=preset.data.values) if preset.data.values else data


def build_model(preset: Preset, data: ImageData) -> PixelModel:
    """The untrained model of a preset, for images of the size and channels of `data`."""
    condition: dict[str, Any] = {}
    if preset.data.condition == "class":
        if data.labels is None:
            raise ConfigError(f"{data.name} has no labels, so no model can be conditioned on classes. {LABELS_HINT}")
        condition["classes"] = len(data.class_names)
    elif preset.data.condition:
        condition["map_channels"] = data.channels
    return _build(preset, data.size, data.channels, **condition)


def _build(preset: Preset, size: tuple[int, int], channels: int, **condition: Any) -> PixelModel:
    options = {key: value for key, value in preset.model.items() if key not in ("network", "head")} | condition
    return pixelrnn.build(
        preset.model["network"],
        head=preset.model.get("head"),
        size=size,
        channels=channels,
        levels=preset.data.levels,
        **options,
    )


def check_fits_memory(preset: Preset, shape: Shape, machine: Machine, decoded: int = 0) -> None:
    """Check that a training step on images of this shape fits into memory, besides `decoded` bytes of pictures.

    What a step keeps for its backward pass is measured on small images, and grows with the pixels of a batch; of
    attention that keeps a weight for every pair of pixels, with their square.

    Raises: MemoryLimitError if it does not
    """
    count, channels, *size = shape
    pixels = size[0] * size[1]
    kept = _kept_for_backward(preset, (min(size[0], _MEASURED), min(size[1], _MEASURED)), channels, pixels)
    gpu = machine.device != "cpu" and torch.cuda.is_available()
    batch = min(count, -(-preset.training.batch_size // (machine.nodes * (machine.devices if gpu else 1))))
    step = batch * kept
    what = f"A training step on {batch} images of {size[0]} x {size[1]}"
    if gpu:
        check_memory(what, step, torch.device("cuda"))
        step = 0
    loaded = f"{count} decoded pictures of {size[0]} x {size[1]}"
    check_memory(
        loaded if gpu else f"{what}, besides {loaded}," if decoded else what, decoded + step, torch.device("cpu")
    )


def _kept_for_backward(preset: Preset, small: tuple[int, int], channels: int, pixels: int) -> int:
    """The bytes that a step keeps of an image of so many pixels, from what it keeps of smaller ones."""

    def per_pixel(size: tuple[int, int]) -> float:
        with torch.random.fork_rng(devices=[]):  # the random numbers of the training stay the same
            model = _build(preset, size, channels)
            return kept_for_backward(model, bf16=preset.training.precision == "bf16") / (size[0] * size[1])

    found, measured, grows = per_pixel(small), small[0] * small[1], 0.0
    if NETWORKS[preset.model["network"]].trains_on_pairs and pixels > measured:
        half = (small[0] // 2, small[1]) if small[0] > small[1] else (small[0], small[1] // 2)
        grows = (found - per_pixel(half)) / (measured - half[0] * half[1])
    return int(pixels * (found + max(0.0, grows) * (pixels - measured)))


_MEASURED = 32  # the most rows and columns of the images with which memory is measured


def check_levels(preset: Preset, name: str, batches: PixelBatches) -> None:
    """Raises ConfigError if all pixels of a few images have the same level."""
    pixels = batches.train.pixels
    some = a_few(pixels)
    if some.min() == some.max():
        raise ConfigError(
            f"Every pixel of {name} is quantised to the same one of {preset.data.levels} levels. If the values are not "
            "bytes 0..255, set their number, for example 4 for 0..3:  --set values=4 --set levels=4"
        )


def check_orders(preset: Preset, model: PixelModel) -> None:
    """Raises: ConfigError if the network cannot go in the orders of the training, or never goes in them afterwards"""
    orders, network = preset.training.orders, model.network
    if orders and network.orders != "any":
        raise ConfigError(
            f"{preset.model['network']} goes in {network.orders} order only: leave training.orders out, or train "
            "pixel-transformer or lmconv, which take any order."
        )
    if orders in ("raster", "s-curves") and orders != family_of(network.own_order):
        name = "s-curve-0" if orders == "s-curves" else "raster"
        raise ConfigError(
            f"The network would be trained on {orders} orders, but validated and sampled in its own, "
            f"{network.own_order}, which is none of them: add  --set order={name}"
        )


def fit_initial_weights(model: PixelModel, data: ImageData, levels: Levels, preset: Preset) -> None:
    """Let the first images decide the initial weights of layers that are normalised, in all processes alike."""
    normalised = [each for each in model.modules() if isinstance(each, NormalisedConv2d)]
    if normalised and all(each.initial for each in normalised):  # not those of a model that has learned before
        count = min(_FIRST, preset.training.batch_size)  # what fits into memory as a batch fits here
        images = torch.from_numpy(np.array(levels.fixed(data.images[:count])))
        labels = None if data.labels is None else torch.from_numpy(np.array(data.labels[:count]))
        with torch.no_grad(), fitted(model):
            model.log_prob(images, **condition_of(model, preset.data.condition, images, labels))


_FIRST = 32  # images
