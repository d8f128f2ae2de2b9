"""Likelihood of a whole data set, and simple baselines on the same images."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.canvas import each_order
from pixelrnn.data import (
    ImageData,
    Labels,
    Levels,
    Pixels,
    ProgressCallback,
    a_few,
    data_names,
    holds_pictures,
    load_data,
    without_classes,
)
from pixelrnn.errors import ConfigError, DataError, ImageError, ModelError
from pixelrnn.measure.verification import MOST_IMAGES, Verification, verify
from pixelrnn.model import PixelModel
from pixelrnn.model.conditions import LABELS_HINT, condition_kind, condition_of, described, torch_labels
from pixelrnn.model.processes import Workers

Result = TypeVar("Result")
_DARK = 32  # if no value in an array file reaches this or the model's levels, it may not hold bytes
_FEW = 64  # levels of a model; with more, dark images could well stay below them


@dataclass(frozen=True)
class Evaluation:
    """The likelihood of a data set: nats per image (negative log-probability; lower is better), and the standard error
    of their mean (None for a single image)."""

    data: str
    split: str
    protocol: str
    images: int
    nats: float
    standard_error: float | None
    bits_per_dim: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def load_like(
    model: PixelModel,
    name_or_path: str | None,
    split: str,
    *,
    values: int | None = None,
    progress: ProgressCallback | None = None,
) -> ImageData:
    """One split of a data set, read in the same way as the model's training set; None: that training set itself.

    Arguments: values, the number that a pixel can have: 4 for 0..3; None: as in the data set or in training, or 256
    Raises:    ConfigError, DataError or ImageError if it does not exist, cannot be read or does not fit
    """
    settings = model.about.get("preset", {}).get("data", {})
    name = name_or_path or settings.get("name")
    if not name:
        raise ConfigError("This model does not record what it was trained on. Name a data set:  --data NAME|PATH")
    if not name_or_path and name not in data_names() and not Path(name).expanduser().exists():
        raise ConfigError(f"The model was trained on {name!r}, which was not found. Give its path:  --data PATH")
    if holds_pictures(name):  # pictures are brought to the model's size and colours
        skip_broken = bool(settings.get("skip_broken"))
        data = load_data(name, split, size=model.size, channels=model.channels, skip_broken=skip_broken)
    else:
        data = load_data(name, split, progress=progress)
    if (data.size, data.channels) != (model.size, model.channels):
        raise ImageError(
            f"{name} has images of {data.size[0]} x {data.size[1]} with {data.channels} channel(s), but the model "
            f"was trained on {model.size[0]} x {model.size[1]} with {model.channels}. Use data of that kind, or train "
            "a model on this data."
        )
    if name_or_path is None:
        data = without_classes(data, settings.get("leave_out", []))
    values = values or settings.get("values")
    if values:
        return dataclasses.replace(data, values=values)
    if name_or_path and Path(name_or_path).suffix.lower() in (".npy", ".npz") and model.levels <= _FEW:
        some = a_few(data.images)
        if len(some) and int(some.max()) < max(model.levels, _DARK):
            raise ConfigError(
                f"No value of {data.name} is above {int(some.max())}, but bytes 0..255 were expected. Give the number "
                f"of values. If they are the model's levels:  --values {model.levels}   If they are dark bytes:  "
                "--values 256"
            )
    return data


def levels_for(model: PixelModel, data: ImageData) -> Levels:
    """How the values of `data` become the model's levels: by the protocol of its training."""
    binarise = model.about.get("preset", {}).get("data", {}).get("binarise") or None
    return Levels(data.values, model.levels, binarise if data.values > 2 else None)


@torch.inference_mode()
def evaluate(
    model: PixelModel | Workers,
    data: ImageData,
    *,
    batch_size: int = 25,
    on_batch: Callable[[int, int], None] | None = None,
    use_condition: bool = True,
    count: int | None = None,
    orders: Sequence[str] = (),
) -> Evaluation:
    """The mean nats per image and bits per dimension of every image of `data`.

    Several processes, `with Workers(folder, processes=4) as workers: evaluate(workers, data)`, give the same result as
    one: they use the same batches, and the nats are joined in the order of the images.

    Arguments: on_batch, called with (images done, images in all); use_condition=False evaluates a conditional model
               without its condition; count, to evaluate only that many images, the first ones; orders, the generation
               order by name, for a network that takes any, or several for the mean of their probabilities
    Raises:    DataError if there is no image; ImageError if the images do not fit the model; ConfigError if the network
               cannot take the order
    """
    began = time.perf_counter()
    here = _here(model)
    if use_condition and condition_kind(here) == "class":
        check_names(here, data)
    levels = levels_for(here, data)
    work = functools.partial(_nats, use_condition=use_condition, orders=list(orders))
    every = torch.from_numpy(np.concatenate(list(_of_batches(model, work, data, batch_size, count, on_batch))))
    return Evaluation(
        data=data.name,
        split=data.split,
        protocol=levels.protocol
        + (f", given {described(here)}" if use_condition and described(here) else "")
        + (f", {' + '.join(orders)} order" if orders else ""),
        images=len(every),
        nats=float(every.mean()),
        standard_error=float(every.std() / math.sqrt(len(every))) if len(every) > 1 else None,
        bits_per_dim=float(every.mean()) / (math.prod(data.images.shape[1:]) * math.log(2)),
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True)
class Accuracy:
    """The fraction of images, 0..1, whose most probable label is correct, and its error: the posterior standard
    deviation of the true fraction under a uniform prior, which is not zero even if all or none are correct."""

    images: int
    accuracy: float
    standard_error: float


@torch.inference_mode()
def accuracy(
    model: PixelModel | Workers,
    data: ImageData,
    *,
    batch_size: int = 25,
    on_batch: Callable[[int, int], None] | None = None,
    count: int | None = None,
) -> Accuracy:
    """How often the label with the highest probability given the image, by Bayes' rule, is correct.

    Arguments: as for `evaluate`
    Raises:    ConditionError if the model has no classes; DataError if the data has none, different ones, or no image
    """
    check_names(_here(model), data)
    if data.labels is None:
        raise DataError(f"{data.name} has no classes to compare with. {LABELS_HINT}")
    every = np.concatenate(list(_of_batches(model, _right, data, batch_size, count, on_batch)))
    count, right = len(every), int(every.sum())
    error = math.sqrt((right + 1) * (count - right + 1) / (count + 3)) / (count + 2)  # of a beta distribution
    return Accuracy(count, right / count, error)


@torch.inference_mode()
def verification(model: PixelModel, data: ImageData, *, count: int | None = None) -> Verification:
    """How well distances between codes separate pairs of one class from others, for at most the first 2,000 images.

    Raises: ConditionError if the model has no encoder; DataError if the data has fewer than two classes, or no image
    """
    most = MOST_IMAGES if count is None else min(count, MOST_IMAGES)
    found = [_tensors(model, batch) for batch in _batches(model, data, 64, most)]
    labels = [mine for _, mine in found if mine is not None]
    if not labels:
        raise DataError(f"{data.name} has no classes to compare by. {LABELS_HINT}")
    return verify(model, torch.cat([some for some, _ in found]), torch.cat(labels))


def check_names(model: PixelModel, data: ImageData, hint: str = "To leave the class out:  --no-condition") -> None:
    """Raises DataError if the classes of the data are not the model's classes, or the first of them; `hint` says what
    to do then."""
    names, known = list(data.class_names), model.about.get("class_names")
    if known and names != known[: len(names)]:
        strange = [name for name in names if name not in known]
        raise DataError(
            f"The {len(names)} classes of {data.name} ({_few(names)}) are not the model's {len(known)} ({_few(known)})"
            f"{f': it does not know {_few(strange)}' if strange else ''}. {hint}"
        )


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 7 else f"{', '.join(names[:3])}, ..., {names[-1]}"


class Batch(NamedTuple):
    """Images as levels (B, C, H, W) and their labels (B,), as they are sent to another process."""

    images: Pixels
    labels: Labels | None


@torch.inference_mode()
def _nats(model: PixelModel, batch: Batch, use_condition: bool, orders: list[str]) -> npt.NDArray[np.float64]:
    images, labels = _tensors(model, batch)
    condition = condition_of(model, condition_kind(model), images, labels) if use_condition else {}
    nats = -model.log_prob(images, order=orders or None, **condition).double().cpu()
    if not bool(nats.isfinite().all()):
        raise _not_finite(model, images, condition, orders)
    found: npt.NDArray[np.float64] = nats.numpy()
    return found


def _not_finite(model: PixelModel, images: Tensor, condition: dict[str, Any], orders: list[str]) -> ModelError:
    """The error for a model whose parameters are not finite, with the first pixel where it shows."""
    for order in each_order(orders) or (None,):
        pixels = model.log_prob(images, order=order, **condition, reduce=False)
        if not bool(pixels.isfinite().all()):
            break
    image, _, row, column = (~pixels.isfinite()).nonzero()[0].tolist()
    return ModelError(
        f"{type(model.network).__name__} gave no finite log-probability to the pixel in row {row}, column {column} of "
        f"image {image} of a batch: its weights are damaged or its training diverged. Load an earlier checkpoint, or "
        "train again with a lower learning rate."
    )


@torch.inference_mode()
def _right(model: PixelModel, batch: Batch) -> npt.NDArray[np.bool_]:
    images, labels = _tensors(model, batch)
    assert labels is not None
    found: npt.NDArray[np.bool_] = (
        model.classify(images, **condition_of(model, "", images, None)).cpu().eq(labels).numpy()
    )
    return found


def _tensors(model: PixelModel, batch: Batch) -> tuple[Tensor, Tensor | None]:
    return torch.from_numpy(np.array(batch.images)).to(model.device), torch_labels(batch.labels)


def _here(model: PixelModel | Workers) -> PixelModel:
    return model.model if isinstance(model, Workers) else model


def _of_batches(
    model: PixelModel | Workers,
    work: Callable[[PixelModel, Batch], Result],
    data: ImageData,
    batch_size: int,
    count: int | None,
    on_batch: Callable[[int, int], None] | None,
) -> Iterator[Result]:
    """The result of `work` for each batch, in order; on_batch is called when the next one is requested."""
    batches = _batches(_here(model), data, batch_size, count)
    found = model.map(work, batches) if isinstance(model, Workers) else (work(model, batch) for batch in batches)
    total = len(data) if count is None else min(count, len(data))
    for number, result in enumerate(found, 1):
        yield result
        if on_batch is not None:
            on_batch(min(number * batch_size, total), total)


def _batches(model: PixelModel, data: ImageData, batch_size: int, count: int | None) -> Iterator[Batch]:
    """The first `count` images as levels, with their labels; levels do not depend on the count.

    Random levels are drawn at once, because they come from one stream of random numbers; others are computed batch by
    batch, so that images on disk are never all in memory.
    """
    if count is not None and count < 1:
        raise ConfigError(f"The count of images must be 1 or more, not {count}.")
    if not len(data):
        raise DataError(f"{data.name} has no image in its split {data.split!r}; nothing to evaluate.")
    levels, total = levels_for(model, data), len(data) if count is None else min(count, len(data))
    drawn: Pixels | None = None
    if levels.binarise in ("stochastic", "fixed"):
        drawn = np.asarray(levels.fixed(data.images if total == len(data) else data.images[:total]))
    for first in range(0, total, batch_size):
        part = slice(first, min(first + batch_size, total))
        images = levels.fixed(np.asarray(data.images[part])) if drawn is None else drawn[part]
        yield Batch(images, None if data.labels is None else data.labels[part])


@dataclass(frozen=True)
class Baseline:
    """What a simple method needs for the same images: nats per image and bits per dimension."""

    name: str
    nats: float
    bits_per_dim: float


def baselines(train: Pixels, test: Pixels, levels: int) -> list[Baseline]:
    """Uniform, the histogram of every pixel position, and PNG and WebP (lossless) of one sheet of all test images.

    A single sheet makes the headers of the formats negligible. The histograms are those of the training images, with
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
