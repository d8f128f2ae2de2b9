"""A folder of pictures as a data set, in any format that Pillow decodes.

    pictures/            cats/ and dogs/ are classes; split 80/10/10, always in the same way
      cats/a.png
      dogs/b.jpg

    pictures/            sub-folders with the names of splits are the splits, classes are below them
      train/cats/a.png
      valid/cats/b.png   (also: val, validation)
      test/dogs/c.png

Pictures directly inside the folder have no class; if any has none, the data set has no labels. Hidden files and
files that are not pictures are ignored. Reading, cropping and colour: see `decode`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelrnn.data.decode import decode, picture_formats, read_header
from pixelrnn.data.images import ALL, SPLITS, ImageData, Labels, Pixels, Shape, check_requested, check_split
from pixelrnn.data.npz import check_bytes
from pixelrnn.data.splits import split_places, splits_of
from pixelrnn.errors import DataError, ImageError

_SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class Pictures:
    """The pictures of one split of a folder, none of them decoded yet.

    Shapes:  image (C, H, W), the shape each is converted to; labels (N,) int64 or None
    """

    files: tuple[Path, ...]
    image: tuple[int, int, int]
    labels: Labels | None
    class_names: tuple[str, ...]
    pixel_limit: int | None
    total: int | None
    """The number of pictures in all splits, if the folder came without splits."""
    skipped: int
    """The number of unreadable pictures that were left out, over all splits."""

    def __len__(self) -> int:
        return len(self.files)

    def decoded(self) -> Iterator[Pixels]:
        """The pictures, one at a time.

        Shapes:  (C, H, W) uint8
        Raises:  DataError if one is unreadable or too large; ImageError if its values cannot be bytes
        """
        channels, *size = self.image
        for file in self.files:
            yield decode(file, channels=channels, size=(size[0], size[1]), pixel_limit=self.pixel_limit)


def load_folder(
    path: Path,
    split: str,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    pixel_limit: int | None = None,
    skip_broken: bool = False,
    on_pictures: Callable[[Shape], None] = lambda _: None,
) -> ImageData:
    """One split of a folder of pictures.

    size:         (rows, columns) to crop and resize every picture to; needed if they differ in size
    channels:     1 for gray, 3 for RGB; None: gray if all pictures of all splits are
    skip_broken:  leave out pictures that cannot be read, instead of raising an error that names them
    on_pictures:  called with the shape of the images before they are decoded
    Raises:    DataError if the folder is empty, lacks the split, or a picture is unreadable or too large;
               ImageError if sizes differ and none is given; ConfigError for an invalid split, size or channels
    """
    check_split(split, (*SPLITS, ALL))
    found = find_pictures(
        path, size=size, channels=channels, pixel_limit=pixel_limit, needed=split, skip_broken=skip_broken
    )[split]
    shape = (len(found), *found.image)
    check_bytes(math.prod(shape), f"{shape[0]} pictures of {shape[2]} x {shape[3]}")
    on_pictures(shape)
    images: Pixels = np.empty(shape, dtype=np.uint8)
    try:
        for index, image in enumerate(found.decoded()):
            images[index] = image
    except DataError as error:
        raise _broken_error(path, pixel_limit) or error from error
    images.flags.writeable = False
    return ImageData(
        path.resolve().name, split, images, found.labels, found.class_names, 256, found.total, found.skipped
    )


def find_pictures(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    pixel_limit: int | None = None,
    needed: str | None = None,
    skip_broken: bool = False,
) -> dict[str, Pictures]:
    """The splits of a folder; no picture is decoded, but all headers are read unless size and channels are given.

    size, channels:  as in `load_folder`
    needed:          a split that must be there
    skip_broken:     as in `load_folder`; costs one extra decoding of every picture
    Raises:          as `load_folder`
    """
    check_requested(size, channels)
    files, total = _files_by_split(path, needed)
    broken = _broken(files, pixel_limit) if skip_broken else {}
    if broken:
        files = {split: [each for each in group if each.path not in broken] for split, group in files.items()}
        files = {split: group for split, group in files.items() if group}
    every = sorted((file for group in files.values() for file in group), key=lambda file: file.path)
    if not every:
        raise DataError(f"{path} holds no picture. Give a folder with pictures in it or in its sub-folders.")
    if needed is not None and needed not in files:
        if total is not None:  # it is the folder that was split, not its sub-folders
            raise DataError(
                f"None of the pictures in the split {needed!r} of {path} can be read. Repair or replace them, or use "
                "all that can:  --split all"
            )
        raise DataError(
            f"{path} has no split {needed!r}: its sub-folders hold {' and '.join(files)}. Use one of these"
            f"{'' if needed == ALL else f', or add a sub-folder {needed!r}'}."
        )
    if size is None or channels is None:
        try:
            size, channels = _common(every, size, channels, pixel_limit)
        except DataError as error:
            raise _broken_error(path, pixel_limit) or error from error
    numbers = {name: number for number, name in enumerate(sorted({_class(file) for file in every}))}
    names = () if "" in numbers else tuple(numbers)
    return {
        split: Pictures(
            files=tuple(file.path for file in group),
            image=(channels, *size),
            labels=np.array([numbers[_class(file)] for file in group], dtype=np.int64) if names else None,
            class_names=names,
            pixel_limit=pixel_limit,
            total=total,
            skipped=len(broken),
        )
        for split, group in files.items()
    }


def pictures_in(folder: Path) -> list[tuple[str, Path]]:
    """The pictures at any depth in a folder: their paths within it and their paths, in order."""
    return [(each.inside, each.path) for each in _pictures(folder)]


class _File:
    """A picture: its path, and its path within the split, which starts with its class."""

    def __init__(self, root: Path, inside: str) -> None:
        self.path = root / inside
        self.inside = inside  # with forward slashes everywhere, so that a folder is split identically on every system


def _broken(files: dict[str, list[_File]], pixel_limit: int | None) -> dict[Path, str]:
    """The pictures that cannot be decoded, and why."""
    found: dict[Path, str] = {}
    for file in (each for group in files.values() for each in group):
        try:
            decode(file.path, size=_TINY, pixel_limit=pixel_limit)
        except (DataError, ImageError) as error:
            found[file.path] = str(error)
    return found


def _broken_error(path: Path, pixel_limit: int | None) -> DataError | None:
    """One error that names all unreadable pictures of a folder, in all splits; None if there are fewer than two."""
    broken = _broken(_files_by_split(path, None)[0], pixel_limit)
    if len(broken) < 2:
        return None
    names = [str(each.relative_to(path)) for each in sorted(broken)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return DataError(
        f"{len(names)} pictures of {path} cannot be read: {', '.join(names[:_NAMED])}{more}. Replace or remove them, "
        f"or leave them out:  --skip-broken   The first of them: {broken[min(broken)]}"
    )


_TINY, _NAMED = (8, 8), 10


def _class(file: _File) -> str:
    first, _, rest = file.inside.partition("/")
    return first if rest else ""


def split_folders(path: Path) -> list[str]:
    """The sub-folders of a folder that have the names of splits.

    Raises:  DataError if the folder cannot be read
    """
    try:
        return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and entry.name.lower() in _SPLIT_FOLDERS)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a folder: {error.strerror}.") from error


def _files_by_split(path: Path, needed: str | None) -> tuple[dict[str, list[_File]], int | None]:
    """The files of each split that the folder has or is split into, and in the latter case their number.

    Raises:  DataError if the folder cannot be read, or holds too few pictures for the split that is needed
    """
    folders = split_folders(path)
    if folders:
        files: dict[str, list[_File]] = {}
        for name in folders:
            files.setdefault(_SPLIT_FOLDERS[name.lower()], []).extend(_pictures(path / name))
        return {split: files[split] for split in SPLITS if files.get(split)}, None
    every = _pictures(path)
    if not every:
        return {}, None
    if needed is not None:
        split_places(len(every), needed, str(path))  # raises DataError if there are too few
    parts = (ALL,) if needed == ALL else splits_of(len(every))
    files = {part: [every[place] for place in split_places(len(every), part, str(path))] for part in parts}
    return files, len(every)


def _pictures(root: Path) -> list[_File]:
    """The pictures at any depth, in the order of their paths within `root`."""
    endings = tuple(picture_formats())
    return [_File(root, inside) for inside in sorted(_walk(root)) if inside.lower().endswith(endings)]


def _walk(root: Path) -> Iterator[str]:
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(folder))
        # A link to a folder already seen would loop forever.
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith((".", "__MACOSX")) and os.path.realpath(Path(folder, name)) not in seen
        ]
        for name in files:
            if not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


def _common(
    files: list[_File], size: tuple[int, int] | None, channels: int | None, pixel_limit: int | None
) -> tuple[tuple[int, int], int]:
    """The size and channels that all pictures share, from their headers."""
    gray = True
    first: tuple[int, int] | None = None
    for file in files:
        header = read_header(file.path, pixel_limit)
        gray = gray and header.gray
        first = first or header.size
        if size is None and header.size != first:
            raise ImageError(
                f"The pictures differ in size: {files[0].path} is {first[0]} x {first[1]} (rows x columns), "
                f"{file.path} is {header.size[0]} x {header.size[1]}. Give one size for all: --size HxW."
            )
    assert first is not None  # the caller has at least one file
    return size or first, channels or (1 if gray else 3)
