"""Likelihood of a whole data set, and honest baselines on the same images."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelrnn.conditions import described, kind_of, told_of, torch_labels
from pixelrnn.data import ImageData, Levels, Pixels, Progress, data_names, load_data
from pixelrnn.errors import ConfigError, DataError, ImageError
from pixelrnn.model import PixelModel
from pixelrnn.verification import Verification, verify


@dataclass(frozen=True)
class Evaluation:
    """What a model gives to a data set: nats per image, smaller is better, and the standard error of their mean."""

    data: str
    split: str
    protocol: str
    images: int
    nats: float
    standard_error: float
    bits_per_dim: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def load_like(
    model: PixelModel, name_or_path: str | None, split: str, *, progress: Progress | None = None
) -> ImageData:
    """One split of a data set, read the way the model's own training set was; None is that training set.

    Raises: ConfigError, DataError or ImageError if it does not exist, cannot be read or does not fit
    """
    settings = model.about.get("preset", {}).get("data", {})
    name = name_or_path or settings.get("name")
    if not name:
        raise ConfigError("This model does not say what it was trained on. Name a data set:  --data NAME|PATH")
    if Path(name).is_dir() and name not in data_names():  # pictures are brought to the model's size and colours
        data = load_data(name, split, size=model.size, channels=model.channels)
    else:
        data = load_data(name, split, progress=progress)
    if (data.size, data.channels) != (model.size, model.channels):
        raise ImageError(
            f"{data.name} has images of {data.size[0]} x {data.size[1]} with {data.channels} channel(s), but the model "
            f"was trained on {model.size[0]} x {model.size[1]} with {model.channels}. Take data of that kind, or train "
            "a model on these."
        )
    return dataclasses.replace(data, source=settings["values"]) if settings.get("values") else data


def levels_for(model: PixelModel, data: ImageData) -> Levels:
    """How the values of `data` become the model's levels: by the protocol that it was trained with."""
    binarise = model.about.get("preset", {}).get("data", {}).get("binarise") or None
    return Levels(data.source, model.levels, binarise if data.source > 2 else None)


@torch.inference_mode()
def evaluate(
    model: PixelModel, data: ImageData, *, batch_size: int = 25, on_batch: Callable[[int, int], None] | None = None,
    told: bool = True, count: int | None = None,
) -> Evaluation:  # fmt: skip
    """The mean nats per image and bits per dimension of every image of `data`.

    Arguments: on_batch is called with (images done, images in all); told=False leaves the condition out that a
               conditional model learned with; count: of the first so many images only
    Raises:    DataError if there is no image; ImageError if the images do not fit the model
    """
    began = time.perf_counter()
    if told and kind_of(model) == "class":
        _check_names(model, data)
    levels = levels_for(model, data)
    nats = []
    for some, mine in _batches(model, data, batch_size, count, on_batch):
        given = told_of(model, kind_of(model), some, mine) if told else {}
        nats.append(-model.log_prob(some, **given).double().cpu())
    every = torch.cat(nats)
    return Evaluation(
        data=data.name,
        split=data.split,
        protocol=levels.protocol + (f", given {described(model)}" if told and described(model) else ""),
        images=len(every),
        nats=float(every.mean()),
        standard_error=float(every.std() / math.sqrt(len(every))) if len(every) > 1 else math.nan,
        bits_per_dim=float(every.mean()) / (math.prod(data.images.shape[1:]) * math.log(2)),
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True)
class Accuracy:
    """The share of images, 0..1, whose most probable label is right, and its standard error."""

    images: int
    accuracy: float
    standard_error: float


@torch.inference_mode()
def accuracy(
    model: PixelModel, data: ImageData, *, batch_size: int = 25, on_batch: Callable[[int, int], None] | None = None,
    count: int | None = None,
) -> Accuracy:  # fmt: skip
    """How often the label with the highest probability given the image, by Bayes' rule, is right.

    Arguments: as for `evaluate`
    Raises:    ConditionError if the model knows no classes; DataError if the data has none, or other ones, or no image
    """
    _check_names(model, data)
    right = []
    for some, labels in _batches(model, data, batch_size, count, on_batch):
        found = model.classify(some, **told_of(model, "", some, None)).cpu()
        if labels is None:
            raise DataError(f"{data.name} has no classes to compare with. Give each class a sub-folder.")
        right.append(found == labels)
    every = torch.cat(right).double()
    share = float(every.mean())
    return Accuracy(len(every), share, math.sqrt(share * (1 - share) / len(every)))


@torch.inference_mode()
def verification(model: PixelModel, data: ImageData, *, count: int | None = None) -> Verification:
    """How well the distance of two images' codes tells whether they are of one class.

    Raises: ConditionError if the model has no encoder; DataError if the data has no two classes, or no image
    """
    found = list(_batches(model, data, 64, count, None))
    labels = [mine for _, mine in found if mine is not None]
    if not labels:
        raise DataError(f"{data.name} has no classes to compare by. Give each class, or each person, a sub-folder.")
    return verify(model, torch.cat([some for some, _ in found]), torch.cat(labels))


def _check_names(model: PixelModel, data: ImageData) -> None:
    """Raises DataError if the classes of the data are not the first of those that the model learned."""
    names, known = list(data.class_names), model.about.get("class_names")
    if known and names != known[: len(names)]:
        raise DataError(f"The classes of {data.name} ({_few(names)}) are not those of the model ({_few(known)}).")


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _batches(
    model: PixelModel, data: ImageData, batch_size: int, count: int | None,
    on_batch: Callable[[int, int], None] | None,
) -> Iterator[tuple[Tensor, Tensor | None]]:  # fmt: skip
    """The first `count` images as levels, with their labels; levels are those of the whole split, whatever the count.

    on_batch is told of a batch when the next one is asked for.
    """
    if count is not None and count < 1:
        raise ConfigError(f"The count of images must be 1 or more, not {count}.")
    if not len(data):
        raise DataError(f"{data.name} has no image in its split {data.split!r}; nothing to evaluate.")
    pixels = levels_for(model, data).fixed(data.images)[:count]
    labels = torch_labels(data.labels)
    for first in range(0, len(pixels), batch_size):
        last = min(first + batch_size, len(pixels))
        some = torch.from_numpy(np.ascontiguousarray(pixels[first:last])).to(model.device)
        yield some, None if labels is None else labels[first:last]
        if on_batch is not None:
            on_batch(last, len(pixels))


@dataclass(frozen=True)
class Baseline:
    """What a simple method needs for the same images: nats per image and bits per dimension."""

    name: str
    nats: float
    bits_per_dim: float


def baselines(train: Pixels, test: Pixels, levels: int) -> list[Baseline]:
    """Uniform, the histogram of every pixel position, and PNG and WebP (lossless) of one sheet of all test images.

    One sheet, so that the headers of the formats do not count. The histograms are those of the training images, with
    one added to every count.

    Shapes: train (N, C, H, W), test (M, C, H, W), integers 0..levels-1; C is 1 or 3 for the two formats
    """
    per_image = math.prod(test.shape[1:])
    counts = np.stack([(train == level).sum(0) for level in range(levels)]) + 1.0  # (K, C, H, W)
    nats_of = -np.log(counts / counts.sum(0))
    histogram = float(np.take_along_axis(nats_of[:, None], test[None].astype(np.int64), 0).sum() / len(test))
    found = {"uniform": per_image * math.log(levels), "histogram of each pixel": histogram}
    if test.shape[1] in (1, 3):
        for name, options in (("PNG", {"optimize": True}), ("WebP lossless", {"lossless": True, "quality": 100})):
            size = _sheet_bytes(test, levels, name.split()[0], options)
            found[f"{name}, one sheet"] = size * 8 * math.log(2) / len(test)
    return [Baseline(name, nats, nats / (per_image * math.log(2))) for name, nats in found.items()]


def _sheet_bytes(images: Pixels, levels: int, kind: str, options: dict[str, Any]) -> int:
    from PIL import Image

    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, height, width, channels), dtype=np.uint8)
    sheet[:count] = images.transpose(0, 2, 3, 1)
    sheet = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    if levels == 2 and channels == 1:
        picture = Image.fromarray(sheet[..., 0] > 0)  # one bit a pixel
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return len(file.getvalue())
