"""Data sets of PyTorch as images: a `torch.utils.data.Dataset`, a tensor, an array, with labels or without."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelrnn.data.images import MOST_CLASSES, ImageData, Labels, PixelStore, ProgressCallback
from pixelrnn.data.on_disk import OnDemand
from pixelrnn.data.pixels import Pixels, as_pixels, check_values
from pixelrnn.data.splits import split_places
from pixelrnn.errors import DataError, ImageError


class FromDataset(OnDemand):
    """The images of a data set of PyTorch, read item by item, so that what the data set draws by chance is drawn anew.

    Arguments:
        dataset    `dataset[i]` is an image, or a tuple that begins with one: a tensor or array (H, W), (C, H, W) or
                   (H, W, C) of integers 0..255, or a PIL picture
        positions  the items that belong to it: (N,) int64
        image      (C, H, W) of every image
        table      see `OnDemand`
    """

    fixed = False

    def __init__(
        self,
        dataset: Any,
        positions: npt.NDArray[np.int64],
        image: tuple[int, int, int],
        table: Pixels | None = None,
    ) -> None:
        super().__init__((len(positions), *image), table)
        self.dataset, self.positions = dataset, positions

    def _with(self, table: Pixels) -> FromDataset:
        return FromDataset(self.dataset, self.positions, self.shape[1:], table)

    def _read(self, positions: npt.NDArray[np.int64]) -> Pixels:
        result = np.empty((len(positions), *self.shape[1:]), dtype=self.dtype)
        for place, position in enumerate(self.positions[positions]):
            result[place] = _image(self.dataset[int(position)], int(position), self.shape[1:])
        return result


def from_dataset(data: Any, values: int, name: str = "", progress: ProgressCallback | None = None) -> ImageData:
    """All images of a data set of PyTorch, of a tensor or an array, as `ImageData`; the split is called "train".

    Every item is read once and checked, so that nothing unexpected ends a training later.

    Arguments:
        data      a `torch.utils.data.Dataset` with a length, of images or of (image, label, ...); an array or tensor
                  of images; or a tuple (images, labels) of these
        values    number of values that a pixel can have, 2 to 256
        name      for reports; "" for the class of the data set
    Shapes:       images of a tensor or array (N, H, W), (N, C, H, W) or (N, H, W, C)
    Raises:       DataError for data that has no length or no image; ImageError for images that are not integers, or
                  not all of one shape
    """
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[0], "shape"):
        given = _labels(_as_array(data[1]), len(data[0]))
        return _named(_in_memory(data[0], values, name), given, (), values, name or "an array")
    if hasattr(data, "shape"):
        return _named(_in_memory(data, values, name), None, (), values, name or "an array")
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            f"{type(data).__name__} has no length or cannot be indexed, but training needs both, to visit every image "
            "once in an epoch and to resume. Give a map-style Dataset, a tensor or an array."
        )
    if not len(data):
        raise DataError(f"{type(data).__name__} is empty. At least one image is needed.")
    labels, shape = _checked(data, values, progress)
    classes = getattr(data, "classes", None)
    names = tuple(str(each) for each in classes) if isinstance(classes, Sequence) and labels is not None else ()
    return _named(FromDataset(data, np.arange(len(data)), shape), labels, names, values, name or type(data).__name__)


def held_out(data: ImageData) -> tuple[ImageData, ImageData]:
    """The images without those that files without splits keep for validation, and these: nine tenths and one tenth.

    Raises: DataError if there are fewer than three images
    """
    valid = split_places(len(data), "valid", data.name)
    train = np.setdiff1d(np.arange(len(data)), valid)
    return _part(data, train, "train"), _part(data, valid, "valid")


def _part(data: ImageData, positions: npt.NDArray[np.int64], split: str) -> ImageData:
    images: PixelStore = data.images
    if isinstance(images, FromDataset):
        images = FromDataset(images.dataset, images.positions[positions], images.shape[1:])
    else:
        images = np.ascontiguousarray(images[positions])
    labels = None if data.labels is None else data.labels[positions]
    return dataclasses.replace(data, images=images, labels=labels, split=split)


def _checked(
    dataset: Any, values: int, progress: ProgressCallback | None
) -> tuple[Labels | None, tuple[int, int, int]]:
    """The labels and the shape of the images, after every item has been read once."""
    labels: list[int] = []
    first = _image(dataset[0], 0, None)
    for position in range(len(dataset)):
        item = dataset[position]
        image = _image(item, position, first.shape)
        if image.max() >= values:
            raise ImageError(
                f"Item {position} of {type(dataset).__name__} has the value {image.max()}, but its pixels should have "
                f"{values} values, 0..{values - 1}. Set values=256 for bytes, or correct the data set."
            )
        if isinstance(item, tuple | list) and len(item) > 1 and _is_label(label := _as_array(item[1])):
            labels.append(int(label))
        if progress:
            progress("checking the data set", position + 1, len(dataset))
    channels, height, width = first.shape
    if labels and len(labels) != len(dataset):
        raise DataError(f"Only {len(labels)} of the {len(dataset)} items of {type(dataset).__name__} have a label.")
    return (_labels(np.array(labels), len(dataset)) if labels else None), (channels, height, width)


def _is_label(thing: npt.NDArray[Any]) -> bool:
    """Whether it is one integer: other targets, such as a number to predict or boxes, are no classes."""
    return thing.ndim == 0 and np.issubdtype(thing.dtype, np.integer)


def _image(item: Any, position: int, shape: tuple[int, ...] | None) -> Pixels:
    """The image of an item: (C, H, W) uint8."""
    if isinstance(item, tuple | list):
        item = item[0]
    if getattr(item, "mode", "L") in ("P", "PA"):  # its array has places in a palette, which would be taken for pixels
        raise ImageError(
            f"Item {position} of the data set is a picture with a palette. Convert it in the data set: "
            'picture.convert("RGB").'
        )
    image: Pixels = as_pixels(_as_array(item)[None], f"Item {position} of the data set")[0]
    if shape is not None and image.shape != shape:
        raise ImageError(
            f"Item {position} of the data set is an image of shape {image.shape}, but those before are {shape}: all "
            "must be of one size. Crop or resize them in the data set."
        )
    return image


def _in_memory(images: Any, values: int, name: str) -> Pixels:
    pixels = as_pixels(_as_array(images), name or "the array")
    if not len(pixels):
        raise DataError(f"{name or 'the array'} is empty. At least one image is needed.")
    check_values(pixels, values)
    return pixels


def _as_array(thing: Any) -> npt.NDArray[Any]:
    """A tensor on any device, an array or a PIL picture, as an array."""
    return np.asarray(thing.detach().cpu() if hasattr(thing, "detach") else thing)


def _labels(labels: npt.NDArray[Any], count: int) -> Labels:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        raise DataError(
            f"Labels must be {count} integers from 0, one per image, but got {labels.dtype} of shape {labels.shape}."
        )
    return labels.astype(np.int64)


def _named(images: PixelStore, labels: Labels | None, names: tuple[str, ...], values: int, name: str) -> ImageData:
    count = 0 if labels is None else int(labels.max(initial=0)) + 1
    if count > MOST_CLASSES:
        labels, count = None, 0  # numbers of something else
    if len(names) < count:
        names = tuple(str(number) for number in range(count))
    return ImageData(name, "train", images, labels, names, values)
