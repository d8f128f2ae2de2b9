"""A packed data set, which may be larger than memory: written once, read image by image.

    faces-packed/
      packed.json         format and version, name, number of values, image (C, H, W), class_names, and for each split
                          its files, each with its number of images and its SHA-256
      train.npy           (N, C, H, W) uint8
      train-labels.npy    (N,) int64, if the images have classes
      valid.npy ...

The folder appears complete or not at all. Loading checks the header and length of every file against packed.json, which
is treated as untrusted; `check_packed` also verifies the checksums.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixelrnn.data.images import ImageData, Labels, Pixels, ProgressCallback, check_split
from pixelrnn.data.npz import check_npy, read_npy
from pixelrnn.data.on_disk import OnDisk
from pixelrnn.data.pixels import MOST_CHANNELS, check_values
from pixelrnn.errors import DataError, ImageError
from pixelrnn.files import replacing, write_atomic

_INDEX, _LIMIT = "packed.json", 1 << 20  # bytes
_AGAIN = "Copy the data set again, or pack it again."
_Least1 = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class File(_Strict):
    """A file of a split: its name in the folder, the number of images (or of their labels) in it, and its SHA-256."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.npy$")]
    images: _Least1
    sha256: str


class Split(_Strict):
    """The files of a split."""

    images: File
    labels: File | None


class Index(_Strict):
    """The contents of packed.json: `values` is the number of values a pixel can have, `image` (C, H, W)."""

    format: Literal["pixelrnn-packed"] = "pixelrnn-packed"
    version: Literal[2] = 2
    name: str
    values: Annotated[int, Field(ge=2, le=256)]
    image: tuple[Annotated[int, Field(ge=1, le=MOST_CHANNELS)], _Least1, _Least1]
    class_names: tuple[str, ...]
    splits: Annotated[dict[Literal["train", "valid", "test"], Split], Field(min_length=1)]


def holds_packed(folder: Path) -> bool:
    """Whether a folder is a packed data set, rather than one of pictures."""
    return (folder / _INDEX).is_file() or (folder / "shards.json").is_file()


def packed_splits(folder: Path) -> tuple[str, ...]:
    """The splits of a packed data set.

    Raises:  DataError if packed.json is missing, damaged or of another version
    """
    return tuple(_read_index(folder).splits)


def load_packed(folder: str | Path, split: str) -> ImageData:
    """One split of a packed data set; its images stay on disk until they are read.

    Raises:  DataError if a file is missing, damaged or of another version, or the data set lacks the split;
             ConfigError for an unknown split
    """
    check_split(split)
    folder = Path(folder)
    index = _read_index(folder)
    found = {str(name): each for name, each in index.splits.items()}.get(split)
    if found is None:
        raise DataError(f"{folder} has no split {split!r}: it holds {' and '.join(index.splits)}. Use one of these.")
    _check_files(folder, index, found)
    images = OnDisk(folder / found.images.file, found.images.images, index.image)
    if found.labels is None:
        return ImageData(index.name, split, images, None, (), index.values)
    labels = np.array(read_npy(folder / found.labels.file))
    if not 0 <= labels.min() <= labels.max() < len(index.class_names):
        raise DataError(f"{folder} is damaged: a label is not one of its {len(index.class_names)} classes. {_AGAIN}")
    return ImageData(index.name, split, images, labels, index.class_names, index.values)


def check_packed(folder: str | Path, progress: ProgressCallback | None = None) -> tuple[int, int]:
    """Verify the checksum of every file of a packed data set; returns the number of files and of bytes.

    progress:  called with a description, bytes done, bytes in all
    Raises:    DataError if a file is missing or has changed
    """
    folder = Path(folder)
    index = _read_index(folder)
    files: list[File] = []
    for split in index.splits.values():
        _check_files(folder, index, split)
        files += [split.images, *([split.labels] if split.labels else [])]
    sizes = [(folder / file.file).stat().st_size for file in files]
    for number, file in enumerate(files):
        if _digest(folder / file.file) != file.sha256:
            raise DataError(f"{folder / file.file} is damaged: its checksum is wrong. {_AGAIN}")
        if progress is not None:
            progress(f"checking {index.name}", sum(sizes[: number + 1]), sum(sizes))
    return len(files), sum(sizes)


def write_packed(
    folder: str | Path,
    splits: Mapping[str, Iterable[Pixels]],
    image: tuple[int, int, int],
    *,
    name: str,
    labels: Mapping[str, Labels] | None = None,
    class_names: Sequence[str] = (),
    values: int = 256,
    on_images: Callable[[int], None] = lambda count: None,
) -> None:
    """Write a packed data set. The images are read once, in order, and only one piece is in memory at a time.

    Arguments:
        folder       a new folder, which appears once everything is written and flushed to disk
        splits       for each split its images, one at a time (C, H, W) or several (n, C, H, W), uint8
        image        (C, H, W) of every image
        labels       for each labelled split, (N,) int64, indices into class_names
        values       number of values that a pixel can have: 0..values-1
        on_images    called with the number of images written since the previous call
    Raises:          DataError if the folder exists or cannot be written, or a split has no images;
                     ImageError if an image has the wrong shape, type or range; whatever reading the images raises
    """
    for split in splits:
        check_split(split)
    if not 1 <= image[0] <= MOST_CHANNELS:
        raise ImageError(f"Images have 1 to {MOST_CHANNELS} channels, but got {image[0]}.")
    with _new_folder(Path(folder)) as new:
        found = {}
        for split, images in splits.items():
            file = _write_images(new / f"{split}.npy", _checked(images, image, values, split), image, on_images)
            if not file.images:
                raise DataError(f"{name} has no image in its split {split!r}. At least one is needed.")
            mine = (labels or {}).get(split)
            of_labels = None if mine is None else _write_labels(new, split, mine, file.images, class_names)
            found[split] = Split(images=file, labels=of_labels)
        index = Index(name=name, values=values, image=image, class_names=tuple(class_names), splits=found)  # type: ignore[arg-type]
        write_atomic(new / _INDEX, (index.model_dump_json(indent=1) + "\n").encode())


def check_free(folder: Path) -> None:
    """Raises DataError if the path exists."""
    if os.path.lexists(folder):
        raise DataError(f"{folder} already exists and is not overwritten. Choose another name, or remove it.")


def _read_index(folder: Path) -> Index:
    path = folder / _INDEX
    if not path.exists() and (folder / "shards.json").is_file():
        raise DataError(f"{folder} was packed by an older version of this package. Pack the data set again.")
    try:
        if path.stat().st_size > _LIMIT:
            raise DataError(f"{path} is larger than {_LIMIT >> 20} MiB, so it was not written by this package.")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Is {folder} a packed data set?") from error
    try:
        index = Index.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if where == "version":
            raise DataError(
                f"{folder} was packed by another version of this package. Update pixelrnn, or pack it again."
            ) from error
        raise DataError(f"{path} is damaged ({where + ': ' if where else ''}{first['msg'][:200]}). {_AGAIN}") from error
    for each in index.splits.values():
        if each.labels is not None and each.labels.images != each.images.images:
            raise DataError(f"{path} is damaged (the numbers of images and labels differ). {_AGAIN}")
    return index


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to write into, renamed to `folder` if the block succeeds and removed otherwise."""
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
        shutil.rmtree(temporary, ignore_errors=True)  # after the rename, it no longer exists


def _checked(images: Iterable[Pixels], image: tuple[int, int, int], values: int, split: str) -> Iterator[Pixels]:
    """Each piece as (n, C, H, W), checked."""
    for piece in images:
        if piece.shape[-3:] != image or piece.ndim not in (3, 4) or piece.dtype != np.uint8:
            raise ImageError(
                f"The split {split!r} must hold uint8 images {image}, but got {piece.dtype} of {piece.shape}."
            )
        check_values(piece, values)
        yield piece.reshape(-1, *image)


def _write_images(
    path: Path, images: Iterable[Pixels], image: tuple[int, int, int], on_images: Callable[[int], None]
) -> File:
    """Write an `.npy` file whose number of images is known only at the end, when its header is written again."""
    count = 0
    with replacing(path) as stream:
        _write_header(stream, 0, image)
        for piece in images:
            stream.write(np.ascontiguousarray(piece).data)
            count += len(piece)
            on_images(len(piece))
        stream.seek(0)
        _write_header(stream, count, image)
    return File.model_construct(file=path.name, images=count, sha256=_digest(path))


def _write_header(stream: BinaryIO, count: int, image: tuple[int, int, int]) -> None:
    """Write the header of an array; numpy pads it, so its length does not depend on the count."""
    description = {"descr": "|u1", "fortran_order": False, "shape": (count, *image)}
    np.lib.format.write_array_header_1_0(stream, description)


def _write_labels(folder: Path, split: str, labels: Labels, count: int, class_names: Sequence[str]) -> File:
    if labels.shape != (count,) or not 0 <= labels.min() <= labels.max() < len(class_names):
        raise DataError(f"The split {split!r} needs {count} labels, each one of {len(class_names)} classes.")
    path = folder / f"{split}-labels.npy"
    with replacing(path) as stream:
        np.save(stream, labels.astype("<i8"), allow_pickle=False)
    return File(file=path.name, images=count, sha256=_digest(path))


def _check_files(folder: Path, index: Index, split: Split) -> None:
    """Raises DataError unless the header and length of both files agree with packed.json."""
    _check_file(folder / split.images.file, (split.images.images, *index.image), np.uint8)
    if split.labels is not None:
        _check_file(folder / split.labels.file, (split.images.images,), "<i8")


def _check_file(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing. {_AGAIN}")
    check_npy(path, shape, dtype)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
