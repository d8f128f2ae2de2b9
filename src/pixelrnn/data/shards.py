"""A data set that may be larger than memory: a folder of `.npy` files, written once and read image by image.

    faces-packed/
      shards.json         format and version, name, number of values, image (C, H, W), class_names, and of each split
                          its files in order, each with its number of images and its SHA-256
      train-00000.npy     (n, C, H, W) uint8, images 0..n-1 of the split
      train-00001.npy     those that follow
      train-labels.npy    (N,) int64, if the images have classes
      valid-00000.npy ...

The folder appears whole or not at all. Loading compares header and length of every file with shards.json;
`check_shards` also compares the digests.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pixelrnn.data.images import ImageData, Labels, Pixels, Progress, check_split
from pixelrnn.data.mapped import Shards
from pixelrnn.data.npz import check_npy, read_npy
from pixelrnn.data.pixels import check_values
from pixelrnn.data.shard_index import AGAIN, File, Index, Split, read_index, write_index
from pixelrnn.errors import DataError, ImageError
from pixelrnn.files import replacing

__all__ = ["SHARD_BYTES", "Shards", "check_free", "check_shards", "load_shards", "shard_splits", "write_shards"]

SHARD_BYTES = 64_000_000  # of images in one file


def shard_splits(folder: Path) -> tuple[str, ...]:
    """The splits of a data set of shards.

    Raises:  DataError if shards.json is absent, damaged or of a newer version
    """
    return tuple(read_index(folder).splits)


def load_shards(folder: str | Path, split: str) -> ImageData:
    """One split of a data set of shards; its images stay on disk until they are read.

    Raises:  DataError if a file is absent, damaged or of a newer version, or the data set lacks the split;
             ConfigError for an unknown split
    """
    check_split(split)
    folder = Path(folder)
    index = read_index(folder)
    if split not in index.splits:
        raise DataError(f"{folder} has no split {split!r}: it holds {' and '.join(index.splits)}. Use one of these.")
    found = index.splits[split]
    _check_files(folder, index, found)
    images = Shards([(folder / file.file, file.images) for file in found.files], index.image)
    labels = None if found.labels is None else np.array(read_npy(folder / found.labels.file))
    if labels is not None and not 0 <= labels.min() <= labels.max() < len(index.class_names):
        raise DataError(f"{folder} is damaged: a label is none of its {len(index.class_names)} classes. {AGAIN}")
    return ImageData(index.name, split, images, labels, () if labels is None else index.class_names, index.values)


def check_shards(folder: str | Path, progress: Progress | None = None) -> tuple[int, int]:
    """Read every file of a data set of shards and compare it with its digest; how many files and bytes that were.

    progress:  told of a description, bytes done, bytes in all
    Raises:    DataError if a file is absent or not what was written
    """
    folder = Path(folder)
    index = read_index(folder)
    files: list[File] = []
    for split in index.splits.values():
        _check_files(folder, index, split)
        files += [*split.files, *([split.labels] if split.labels else [])]
    sizes = [(folder / file.file).stat().st_size for file in files]
    for number, file in enumerate(files):
        if _digest(folder / file.file) != file.sha256:
            raise DataError(f"{folder / file.file} is damaged: its content is not what was written. {AGAIN}")
        if progress is not None:
            progress(f"checking {index.name}", sum(sizes[: number + 1]), sum(sizes))
    return len(files), sum(sizes)


def write_shards(
    folder: str | Path,
    splits: Mapping[str, Iterable[Pixels]],
    image: tuple[int, int, int],
    *,
    name: str,
    labels: Mapping[str, Labels] | None = None,
    class_names: Sequence[str] = (),
    values: int = 256,
    shard_bytes: int = SHARD_BYTES,
    on_images: Callable[[int], None] = lambda count: None,
) -> None:
    """Write a data set of shards. What is given is read once, in order; no more than one piece of it is in memory.

    Arguments:
        folder       a new folder; it appears when all is written and flushed to the disk
        splits       of each split its images, singly (C, H, W) or some at a time (n, C, H, W), uint8
        image        (C, H, W) of every image
        labels       of each split that has some, (N,) int64, places in class_names
        values       number of values that the source has: 0..values-1
        shard_bytes  of images in one file, at most, unless one image takes more
        on_images    told how many images were written since it was told last
    Raises:          DataError if the folder exists or cannot be written, or a split has no images;
                     ImageError if an image is of another shape, type or range; whatever reading the images raises
    """
    for split in splits:
        check_split(split)
    if not 1 <= image[0] <= 4:
        raise ImageError(f"Images have 1 to 4 channels, but {image[0]} came.")
    per_file = max(1, shard_bytes // math.prod(image))
    with _new_folder(Path(folder)) as new:
        found = {}
        for split, images in splits.items():
            checked = _checked(images, image, values, f"The split {split!r}")
            files = _write_images(new, split, checked, image, per_file, on_images)
            count = sum(file.images for file in files)
            if not count:
                raise DataError(f"{name} has no image in its split {split!r}. At least one is needed.")
            mine = (labels or {}).get(split)
            found[split] = Split(files, None if mine is None else _write_labels(new, split, mine, count, class_names))
        write_index(new, Index(name, values, image, tuple(class_names), found))


def check_free(folder: Path) -> None:
    """Raises DataError if something of that name exists."""
    if os.path.lexists(folder):
        raise DataError(f"{folder} exists already, and nothing is overwritten. Choose another name, or remove it.")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes its name when the block ends well, and is removed otherwise."""
    check_free(folder)
    temporary = folder.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        check_free(folder)
        temporary.rename(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}. Choose another place.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # after the renaming there is nothing of that name


def _checked(
    images: Iterable[Pixels], image: tuple[int, int, int], values: int, what: str
) -> Iterator[npt.NDArray[np.uint8]]:
    """Every piece as (n, C, H, W)."""
    for piece in images:
        if piece.shape[-3:] != image or piece.ndim not in (3, 4) or piece.dtype != np.uint8:
            raise ImageError(f"{what} must hold uint8 images {image}, but {piece.dtype} of {piece.shape} came.")
        check_values(piece, values)
        yield piece.reshape(-1, *image)


def _write_images(
    folder: Path,
    split: str,
    images: Iterable[Pixels],
    image: tuple[int, int, int],
    per_file: int,
    on_images: Callable[[int], None],
) -> tuple[File, ...]:
    files = []
    for number, pieces in itertools.groupby(_pieces(images, per_file), key=lambda numbered: numbered[0]):
        path = folder / f"{split}-{number:05}.npy"
        count = 0
        with replacing(path) as stream:
            _write_header(stream, 0, image)
            for _, piece in pieces:
                stream.write(np.ascontiguousarray(piece).data)
                count += len(piece)
                on_images(len(piece))
            stream.seek(0)
            _write_header(stream, count, image)
        files.append(File(path.name, count, _digest(path)))
    return tuple(files)


def _pieces(images: Iterable[Pixels], per_file: int) -> Iterator[tuple[int, Pixels]]:
    """Images with the number of the file that they belong to."""
    done = 0
    for piece in images:
        while len(piece):
            number, before = divmod(done, per_file)
            yield number, piece[: per_file - before]
            done += min(len(piece), per_file - before)
            piece = piece[per_file - before :]


def _write_header(stream: BinaryIO, count: int, image: tuple[int, int, int]) -> None:
    """The header of an array; numpy leaves room in it, so that it is as long for every count."""
    description = {"descr": "|u1", "fortran_order": False, "shape": (count, *image)}
    np.lib.format.write_array_header_1_0(stream, description)


def _write_labels(folder: Path, split: str, labels: Labels, count: int, class_names: Sequence[str]) -> File:
    if labels.shape != (count,) or not 0 <= labels.min() <= labels.max() < len(class_names):
        raise DataError(f"The split {split!r} needs {count} labels, each one of {len(class_names)} classes.")
    path = folder / f"{split}-labels.npy"
    with replacing(path) as stream:
        np.save(stream, labels.astype("<i8"), allow_pickle=False)
    return File(path.name, count, _digest(path))


def _check_files(folder: Path, index: Index, split: Split) -> None:
    """Raises DataError unless header and length of every file are those that shards.json promises."""
    for file in split.files:
        _check_file(folder / file.file, (file.images, *index.image), np.uint8)
    if split.labels is not None:
        _check_file(folder / split.labels.file, (split.images,), "<i8")


def _check_file(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing. {AGAIN}")
    check_npy(path, shape, dtype)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
