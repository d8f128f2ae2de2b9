"""A user's own arrays as a data set: `.npy` and `.npz` files.

`.npy` is one array of images. `.npz` holds either `images` (and `labels`), or one array per split:
`train_images`, `valid_images`, `test_images` (and `train_labels`, ...); `class_names` is used if it is there.
An array without splits is split 80/10/10 by the same seeded permutation as a folder. An `.npy` file stays on disk, and
may be larger than memory; images are read on demand, and their values are checked then.

Shapes:  those that `pixels.as_pixels` accepts
Values:  integers 0..255, kept unchanged; the source has 256 values.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelrnn.data.cache import cached_array
from pixelrnn.data.images import ALL, MOST_CLASSES, SPLITS, ImageData, Labels, Pixels, check_split
from pixelrnn.data.npz import ArrayHeader, check_bytes, npz_headers, read_npy, read_npz
from pixelrnn.data.on_disk import OnDisk
from pixelrnn.data.pixels import as_pixels, check_images, taken_layout
from pixelrnn.data.splits import split_places, splits_of
from pixelrnn.errors import DataError


def load_array_file(path: Path, split: str) -> ImageData:
    """One split of an `.npy` or `.npz` file.

    Raises:  DataError for a file that is damaged, too large, empty or lacks the split;
             ImageError for arrays that are not images; ConfigError for an unknown split
    """
    check_split(split, (*SPLITS, ALL))
    return _load_npz(path, split) if path.suffix.lower() == ".npz" else _load_npy(path, split)


def array_splits(path: Path) -> tuple[str, ...]:
    """The splits of an `.npy` or `.npz` file: those that it names, or else those that it is split into.

    Raises:  DataError for a file that is damaged or has no images
    """
    if path.suffix.lower() != ".npz":
        return splits_of(len(np.atleast_1d(read_npy(path))))
    images = npz_headers(path).get("images")
    return named_splits(path) or splits_of(images.shape[0] if images is not None and images.shape else 0)


def named_splits(path: Path) -> tuple[str, ...]:
    """The splits that an `.npz` file names.

    Raises:  DataError for a file that is damaged
    """
    headers = npz_headers(path) if path.suffix.lower() == ".npz" else {}
    return tuple(split for split in SPLITS if f"{split}_images" in headers)


def _load_npy(path: Path, split: str) -> ImageData:
    array = read_npy(path)
    count = _count(ArrayHeader(array.shape, array.dtype), path.name)
    _, *image = as_pixels(array[:0], path.name).shape
    places = split_places(count, split, path.name)
    images = OnDisk(path, count, (image[0], image[1], image[2]), places)
    return ImageData(path.stem, split, images, None, (), 256, count, layout=taken_layout(array.shape))


def _load_npz(path: Path, split: str) -> ImageData:
    headers = npz_headers(path)
    per_split = [name for name in SPLITS if f"{name}_images" in headers]
    if f"{split}_images" in headers:
        key, labels_key = f"{split}_images", f"{split}_labels"
    elif per_split:
        raise DataError(
            f"{path} has no split {split!r}: it holds {' and '.join(per_split)}. Use one of these, "
            f"or add an array {'images' if split == ALL else split + '_images'}."
        )
    elif "images" in headers:
        key, labels_key = "images", "labels"
    else:
        raise DataError(
            f"{path} holds {', '.join(headers) or 'no array'}, but images or train_images (valid_images, test_images) "
            "was expected. Rename the array."
        )
    check_bytes(headers[key].bytes, f"{key} in {path.name}")
    count = _count(headers[key], f"{key} in {path.name}")
    places = split_places(count, split, path.name) if key == "images" else None

    def make() -> Pixels:
        pixels = as_pixels(read_npz(path, key), f"{key} in {path.name}")
        return np.ascontiguousarray(pixels if places is None else pixels[places])

    labels = _labels(path, labels_key, count, headers)
    if labels is not None and places is not None:
        labels = labels[places]
    names = () if labels is None else _class_names(path, headers)
    if labels is not None and not names:
        labels = None
    total = None if places is None else count
    images, layout = cached_array(path, f"{key}:{split}", make), taken_layout(headers[key].shape)
    return ImageData(path.stem, split, images, labels, names, 256, total, layout=layout)


def _count(header: ArrayHeader, what: str) -> int:
    """The number of images, after checking from the header that they can be read."""
    if header.shape[:1] in ((), (0,)):
        raise DataError(f"{what} is empty (shape {header.shape}). At least one image is needed.")
    check_images(header.shape, header.dtype, what)
    return header.shape[0]


def _labels(path: Path, key: str, count: int, headers: dict[str, ArrayHeader]) -> Labels | None:
    if key not in headers:
        return None
    header = headers[key]
    if header.shape != (count,) or not np.issubdtype(header.dtype, np.integer):
        raise DataError(
            f"{key} in {path} must be {count} integers, one per image, but got {header.dtype} of shape "
            f"{header.shape}. Correct or remove it."
        )
    labels = read_npz(path, key).astype(np.int64)
    if labels.min() < 0:
        raise DataError(f"{key} in {path} must be 0 or more, but got {labels.min()}. Correct or remove it.")
    return labels


def _class_names(path: Path, headers: dict[str, ArrayHeader]) -> tuple[str, ...]:
    """The class names in the file, or else the numbers; over all splits, so that every split has the same classes.

    None of them, (), if there are so many that the labels are numbers of something else.
    """
    keys = [key for key in headers if key == "labels" or key.removesuffix("_labels") in SPLITS]
    count = 1 + max(int(read_npz(path, key).max(initial=0)) for key in keys)
    if "class_names" not in headers and count > MOST_CLASSES:
        return ()
    if "class_names" not in headers:
        return tuple(str(number) for number in range(count))
    names = tuple(str(name) for name in read_npz(path, "class_names").ravel())
    if len(names) < count:
        raise DataError(
            f"{path} has {len(names)} class_names, but labels up to {count - 1}. Correct or remove class_names."
        )
    return names
