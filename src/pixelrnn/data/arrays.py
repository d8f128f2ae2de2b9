"""A user's own arrays as a data set: `.npy` and `.npz` files.

`.npy` is one array of images. `.npz` holds either `images` (and `labels`), or one array per split:
`train_images`, `valid_images`, `test_images` (and `train_labels`, ...); `class_names` is used if it is there.
An array without splits is split 80/10/10 by the same seeded permutation as a folder.

Shapes:  (N, H, W) is gray. Of 4 dimensions, channels are the second, (N, C, H, W), if that is 1 to 4,
         otherwise the last, (N, H, W, C), if that is 1 to 4. Where both are, (N, C, H, W) is taken.
Values:  integers 0..255, kept as they are; the source has 256 values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelrnn.data.cache import cached_array
from pixelrnn.data.images import SPLITS, ImageData, Labels, Pixels, check_split
from pixelrnn.data.npz import ArrayHeader, check_bytes, npz_headers, read_npy, read_npz
from pixelrnn.data.splits import split_places
from pixelrnn.errors import DataError, ImageError

_CHANNELS = (1, 2, 3, 4)
_CHUNK = 1 << 24  # values checked at once


def load_array_file(path: Path, split: str) -> ImageData:
    """One split of an `.npy` or `.npz` file.

    Raises:  DataError for a file that is damaged, too large, empty or lacks the split;
             ImageError for arrays that are no images; ConfigError for an unknown split
    """
    check_split(split)
    return _load_npz(path, split) if path.suffix.lower() == ".npz" else _load_npy(path, split)


def as_pixels(array: npt.NDArray[Any], what: str) -> Pixels:
    """An array of images in the order (N, C, H, W), as bytes.

    Shapes:  (N, H, W), (N, C, H, W) or (N, H, W, C) integers 0..255 -> (N, C, H, W) uint8
    Raises:  ImageError if the shape, type or range does not fit; `what` names the array
    """
    _check_images(ArrayHeader(array.shape, array.dtype), what)
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[1] not in _CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    if array.dtype != np.uint8:
        for start in range(0, len(array), step := max(1, _CHUNK // max(1, int(np.prod(array.shape[1:]))))):
            _check_range(array[start : start + step], what)
    return array.astype(np.uint8, copy=False)


def _check_images(header: ArrayHeader, what: str) -> None:
    """Raises ImageError unless type and shape are those of images."""
    if not np.issubdtype(header.dtype, np.integer):
        raise ImageError(
            f"{what} must hold integers 0..255, but {header.dtype} came. Convert it, for example by "
            "(255 * x).round().astype('uint8') for values from 0 to 1."
        )
    shape = header.shape
    channels_fit = len(shape) == 3 or (len(shape) == 4 and (shape[1] in _CHANNELS or shape[3] in _CHANNELS))
    if not channels_fit or 0 in shape[1:]:
        raise ImageError(
            f"{what} has shape {shape}, but images are (N, H, W), (N, C, H, W) or (N, H, W, C) "
            "with 1 to 4 channels. Reshape it."
        )


def _check_range(part: npt.NDArray[Any], what: str) -> None:
    if part.size and (part.min() < 0 or part.max() > 255):
        raise ImageError(
            f"{what} must hold values 0..255, but values from {part.min()} to {part.max()} came. "
            "Scale it and convert it to uint8."
        )


def _load_npy(path: Path, split: str) -> ImageData:
    array = read_npy(path)
    places = split_places(_count(ArrayHeader(array.shape, array.dtype), path.name), split, path.name)
    return ImageData(path.stem, split, as_pixels(array[places], path.name), None, (), 256)


def _load_npz(path: Path, split: str) -> ImageData:
    headers = npz_headers(path)
    per_split = [name for name in SPLITS if f"{name}_images" in headers]
    if f"{split}_images" in headers:
        key, labels_key = f"{split}_images", f"{split}_labels"
    elif per_split:
        raise DataError(
            f"{path} has no split {split!r}: it holds {' and '.join(per_split)}. Use one of these, "
            f"or add an array {split}_images."
        )
    elif "images" in headers:
        key, labels_key = "images", "labels"
    else:
        raise DataError(
            f"{path} holds {', '.join(headers) or 'no array'}, but images or train_images (valid_images, test_images) "
            "was expected. Rename the array."
        )
    count = _count(headers[key], f"{key} in {path.name}")
    places = split_places(count, split, path.name) if key == "images" else None

    def make() -> Pixels:
        pixels = as_pixels(read_npz(path, key), f"{key} in {path.name}")
        return np.ascontiguousarray(pixels if places is None else pixels[places])

    labels = _labels(path, labels_key, count, headers)
    if labels is not None and places is not None:
        labels = labels[places]
    names = () if labels is None else _class_names(path, headers)
    return ImageData(path.stem, split, cached_array(path, f"{key}:{split}", make), labels, names, 256)


def _count(header: ArrayHeader, what: str) -> int:
    """The number of images, once the header alone shows images that can be read."""
    check_bytes(header.bytes, what)
    if header.shape[:1] in ((), (0,)):
        raise DataError(f"{what} is empty (shape {header.shape}). At least one image is needed.")
    _check_images(header, what)
    return header.shape[0]


def _labels(path: Path, key: str, count: int, headers: dict[str, ArrayHeader]) -> Labels | None:
    if key not in headers:
        return None
    header = headers[key]
    if header.shape != (count,) or not np.issubdtype(header.dtype, np.integer):
        raise DataError(
            f"{key} in {path} must be {count} integers, one per image, but {header.dtype} of shape "
            f"{header.shape} came. Correct or remove it."
        )
    labels = read_npz(path, key).astype(np.int64)
    if labels.min() < 0:
        raise DataError(f"{key} in {path} must count from 0, but {labels.min()} came. Correct or remove it.")
    return labels


def _class_names(path: Path, headers: dict[str, ArrayHeader]) -> tuple[str, ...]:
    """The names that the file gives, or the numbers; over all splits, so that every split has the same classes."""
    keys = [key for key in headers if key == "labels" or key.removesuffix("_labels") in SPLITS]
    count = 1 + max(int(read_npz(path, key).max(initial=0)) for key in keys)
    if "class_names" not in headers:
        return tuple(str(number) for number in range(count))
    names = tuple(str(name) for name in read_npz(path, "class_names").ravel())
    if len(names) < count:
        raise DataError(
            f"{path} has {len(names)} class_names, but labels up to {count - 1}. Correct or remove class_names."
        )
    return names
