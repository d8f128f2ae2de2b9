"""The built-in data sets: digits, mnist, cifar10, faces.

Each is looked for in the folder named by the environment variable PIXELRNN_DATA, as `mnist.npz` or `cifar10.npz`
(arrays train_images, train_labels, ...) or in the format it was published in, and otherwise downloaded.

    digits    train = the first 1,297 of the 1,797 digits of scikit-learn, valid = the next 200, test = the last 300
    mnist     train = the first 55,000 of the 60,000 training images, valid = the last 5,000, test = its test set
    faces     the ORL faces, from the file orl_faces.npz (arrays images, person, shot) in that folder, as they cannot be
              downloaded; reduced to 28 x 23 by averaging 4 x 4 pixels. Split by person: train = all but the last six
              people, valid = the next three, test = the last three, so nobody is in two splits
    cifar10   train = the first 45,000 of the 50,000 training images, valid = the last 5,000, test = its test set
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pixelrnn.data.cache import cached_array
from pixelrnn.data.cifar import read_cifar_binary
from pixelrnn.data.download import fetch
from pixelrnn.data.idx import read_idx
from pixelrnn.data.images import SPLITS, ImageData, Labels, Pixels, ProgressCallback, check_split
from pixelrnn.data.npz import npz_headers, read_npz
from pixelrnn.data.pixels import as_pixels
from pixelrnn.errors import DataError, unknown

Read: TypeAlias = Callable[[str, ProgressCallback | None], tuple[Pixels, Labels]]

MNIST_TRAIN, MNIST_VALID, MNIST_TEST = 60_000, 5_000, 10_000
_IDX_FOLDERS = ("", "MNIST/raw", "mnist")
_CIFAR_TAR, _CIFAR_FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
_CIFAR_PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz")
_INSTEAD_OF_MNIST = (
    "mnist.npz, or train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
)
_INSTEAD_OF_CIFAR = f"cifar10.npz, {_CIFAR_TAR} or {_CIFAR_FOLDER}"


@dataclass(frozen=True)
class BuiltIn:
    """A built-in data set: its description, number of values and classes, and the function that reads a split."""

    description: str
    values: int
    class_names: tuple[str, ...]
    read: Read


def load_builtin(name: str, split: str, progress: ProgressCallback | None = None) -> ImageData:
    """One split of a data set of BUILT_IN.

    Raises:  ConfigError for an unknown name or split; DataError if a file is damaged or lacks the split;
             DownloadError if it must be fetched and cannot be
    """
    if name not in BUILT_IN:
        raise unknown("data set", name, BUILT_IN)
    check_split(split)
    entry = BUILT_IN[name]
    images, labels = entry.read(split, progress)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(entry.class_names):
        raise DataError(f"The labels of {name} must be 0..{len(entry.class_names) - 1}, but got {labels.max()}.")
    return ImageData(name, split, images, labels, entry.class_names, entry.values)


def is_here(name: str) -> bool:
    """Whether a data set of BUILT_IN needs no download: a file of it is in the folder of PIXELRNN_DATA.

    Raises:  DataError if PIXELRNN_DATA names no folder
    """
    idx = [str(Path(folder) / f"train-images-idx3-ubyte{end}") for folder in _IDX_FOLDERS for end in ("", ".gz")]
    files = {
        "mnist": ["mnist.npz", *idx],
        "cifar10": ["cifar10.npz", _CIFAR_FOLDER, _CIFAR_TAR],
        "faces": ["orl_faces.npz"],
    }
    return name not in files or any(_local(each) is not None for each in files[name])


def builtin_splits(name: str) -> tuple[str, ...]:
    """The splits of a data set of BUILT_IN: all of them, unless the only file found lacks some.

    Raises:  DataError if the file is damaged
    """
    npz = _local("cifar10.npz") if name == "cifar10" else None
    if npz is None or _local(_CIFAR_FOLDER) or _local(_CIFAR_TAR):
        return SPLITS
    return tuple(_npz_splits(npz)) or SPLITS


def _digits(split: str, progress: ProgressCallback | None) -> tuple[Pixels, Labels]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    part = {"train": slice(0, 1297), "valid": slice(1297, 1497), "test": slice(1497, 1797)}[split]
    return bunch.images[part, None].astype(np.uint8), bunch.target[part].astype(np.int64)


def _mnist(split: str, progress: ProgressCallback | None) -> tuple[Pixels, Labels]:
    train = split != "test"
    count = MNIST_TRAIN if train else MNIST_TEST
    npz = _local("mnist.npz")
    if npz is not None:
        images, labels = _npz_pair(npz, "train" if train else "test", (1, 28, 28))
        if len(images) != count:
            raise DataError(f"{npz} holds {len(images):,} images where MNIST has {count:,}. Get the file again.")
    else:
        stem = "train" if train else "t10k"
        images = _idx(f"{stem}-images-idx3-ubyte", (count, 28, 28), progress)[:, None]
        labels = _idx(f"{stem}-labels-idx1-ubyte", (count,), progress).astype(np.int64)
    edge = count - MNIST_VALID
    part = {"train": slice(0, edge), "valid": slice(edge, None), "test": slice(None)}[split]
    return images[part], labels[part]


def _idx(name: str, shape: tuple[int, ...], progress: ProgressCallback | None) -> Pixels:
    """An IDX file from the user's folder, plain or gzipped, or else downloaded."""
    for folder in _IDX_FOLDERS:
        plain = _local(f"{folder}/{name}" if folder else name)
        if plain is not None:
            return read_idx(plain, shape)
        packed = _local(f"{folder}/{name}.gz" if folder else f"{name}.gz")
        if packed is not None:
            break
    else:
        packed = fetch(f"{name}.gz", instead=_INSTEAD_OF_MNIST, progress=progress)
    source = packed
    return cached_array(source, "idx", lambda: read_idx(source, shape))


def _faces(split: str, progress: ProgressCallback | None) -> tuple[Pixels, Labels]:
    npz = _local("orl_faces.npz")
    if npz is None:
        raise DataError(
            "The faces were not found: put orl_faces.npz (arrays images, N x 112 x 92 bytes, and person, numbered from "
            "1) into a folder, and set the environment variable PIXELRNN_DATA to that folder."
        )
    headers = npz_headers(npz)
    shape = headers["images"].shape if "images" in headers else ()
    if len(shape) != 3 or shape[1:] != (112, 92) or "person" not in headers or headers["person"].shape != shape[:1]:
        raise DataError(f"{npz} should hold images (N, 112, 92) and person (N,), but it does not. Get the file again.")
    person = read_npz(npz, "person").astype(np.int64) - 1
    people = np.unique(person)
    if len(people) < 9 or people[0] < 0 or people[-1] >= _PEOPLE:
        raise DataError(f"{npz} should hold at least 9 people, numbered 1 to {_PEOPLE}. Get the file again.")
    chosen = np.isin(person, {"train": people[:-6], "valid": people[-6:-3], "test": people[-3:]}[split])
    blocks = as_pixels(read_npz(npz, "images")[chosen], "images").reshape(-1, 1, 28, 4, 23, 4)
    return np.round(blocks.mean((3, 5))).astype(np.uint8), person[chosen]


def _cifar10(split: str, progress: ProgressCallback | None) -> tuple[Pixels, Labels]:
    npz = _local("cifar10.npz")
    present = [] if npz is None else _npz_splits(npz)
    if npz is not None and split in present:
        return _npz_pair(npz, split, (3, 32, 32))
    source = _local(_CIFAR_FOLDER) or _local(_CIFAR_TAR)
    if source is not None:
        return read_cifar_binary(source, split)
    if npz is not None:
        raise DataError(
            f"{npz} has no split {split!r}: it holds {' and '.join(present) or 'none'}. "
            f"Use the split {'valid' if 'valid' in present else 'train'}, or put {_CIFAR_TAR} beside the file."
        )
    for name in _CIFAR_PICKLED:
        pickled = _local(name)
        if pickled is not None:
            raise DataError(
                f"{pickled} is pickled, and a pickle can run arbitrary code, so it is never read. "
                f"Get the binary version, {_CIFAR_TAR}, and put it there instead."
            )
    return read_cifar_binary(fetch(_CIFAR_TAR, instead=_INSTEAD_OF_CIFAR, progress=progress), split)


def _npz_splits(path: Path) -> list[str]:
    headers = npz_headers(path)
    return [split for split in SPLITS if f"{split}_images" in headers and f"{split}_labels" in headers]


def _npz_pair(path: Path, part: str, shape: tuple[int, int, int]) -> tuple[Pixels, Labels]:
    """Images and labels of one part of an `.npz`, which may use the names train_images or x_train."""
    headers = npz_headers(path)
    keys = (f"{part}_images", f"{part}_labels")
    if not set(keys) <= set(headers):
        keys = (f"x_{part}", f"y_{part}")
    if not set(keys) <= set(headers):
        raise DataError(f"{path} lacks {part}_images and {part}_labels. Get the file again.")

    def make() -> Pixels:
        pixels = np.ascontiguousarray(as_pixels(read_npz(path, keys[0]), f"{keys[0]} in {path}"))
        if pixels.shape[1:] != shape:
            raise DataError(f"{path} holds images of shape {pixels.shape[1:]}, but {shape} was expected.")
        return pixels

    images = cached_array(path, f"{keys[0]} {shape}", make)
    labels = read_npz(path, keys[1])
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{keys[1]} in {path} must be {len(images):,} integers, one per image. Get the file again.")
    return images, labels.astype(np.int64)


def _local(name: str) -> Path | None:
    """A file or folder of that name in the folder of PIXELRNN_DATA, if there is one."""
    chosen = os.environ.get("PIXELRNN_DATA")
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise DataError(f"PIXELRNN_DATA names {folder}, which is not a folder. Set it to a folder, or unset it.")
    path = folder / name
    return path if path.exists() else None


_PEOPLE = 40
_NAMES = tuple(f"person {number}" for number in range(1, _PEOPLE + 1))
_TEN = tuple(str(digit) for digit in range(10))
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

BUILT_IN: dict[str, BuiltIn] = {
    "digits": BuiltIn("1,797 handwritten digits, 8 x 8, 17 values; no download", 17, _TEN, _digits),
    "mnist": BuiltIn("70,000 handwritten digits, 28 x 28, gray", 256, _TEN, _mnist),
    "cifar10": BuiltIn("60,000 photographs in 10 classes, 32 x 32, colour", 256, _THINGS, _cifar10),
    "faces": BuiltIn("10 photographs of each person in orl_faces.npz, 28 x 23, gray", 256, _NAMES, _faces),
}
