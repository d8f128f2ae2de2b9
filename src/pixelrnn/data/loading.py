"""Data sets by name or path: choose the reader, and list the splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pixelrnn.data.arrays import array_splits, load_array_file, named_splits
from pixelrnn.data.builtin import BUILT_IN, builtin_splits, load_builtin
from pixelrnn.data.images import (
    ALL,
    SPLITS,
    ImageData,
    ProgressCallback,
    Shape,
    check_fits,
    check_requested,
    check_split,
)
from pixelrnn.data.packed import holds_packed, load_packed, packed_splits
from pixelrnn.data.picture_folder import load_folder, split_folders
from pixelrnn.errors import ConfigError, unknown


def load_data(
    name_or_path: str | Path,
    split: str,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    skip_broken: bool = False,
    progress: ProgressCallback | None = None,
    on_pictures: Callable[[Shape], None] = lambda _: None,
) -> ImageData:
    """One split (train, valid, test) of a data set, by name or by the path of a folder, `.npz` or `.npy` file.

    "all" means every image of a folder or file that comes without splits, and would otherwise be split here.

    A folder holds pictures, or what `pack` wrote. A name takes precedence over a path: write ./mnist for a folder
    called mnist.

    size:      (rows, columns). Pictures of a folder are cropped and resized to it; other data must have it already.
    channels:  1 or 3. Pictures of a folder are converted to it; other data must have it already.
    skip_broken:  leave out pictures of a folder that cannot be read; `ImageData.skipped` counts them
    progress:  called during a download: description, bytes done, bytes in all
    on_pictures:  for a folder of pictures, called with the shape of the images before any picture is decoded
    Shapes:    images (N, C, H, W) uint8, labels (N,) int64 or None
    Raises:    ConfigError for an unknown name, split, size or channels; ImageError for images that do not fit;
               DataError if it is missing, unreadable, empty or too large; DownloadError if it cannot be downloaded

    >>> data = load_data("digits", "test")
    >>> data.images.shape, data.values, data.labels[:5].tolist()
    ((300, 1, 8, 8), 17, [6, 3, 2, 1, 7])
    """
    check_split(split, (*SPLITS, ALL))
    check_requested(size, channels)
    path = data_path(name_or_path)
    if path is None:
        return check_fits(load_builtin(str(name_or_path), split, progress), size, channels, str(name_or_path))
    if holds_pictures(name_or_path):
        return load_folder(path, split, size=size, channels=channels, skip_broken=skip_broken, on_pictures=on_pictures)
    found = (load_packed if path.is_dir() else load_array_file)(path, split)
    return check_fits(found, size, channels, str(name_or_path))


def data_path(name_or_path: str | Path) -> Path | None:
    """The path of a data set: a folder, an `.npz` or `.npy` file; None for a built-in one.

    Raises:  ConfigError if there is no data set of that name or path
    """
    if isinstance(name_or_path, str) and name_or_path in BUILT_IN:
        return None
    path = Path(name_or_path).expanduser()
    if not path.exists():
        if len(path.parts) > 1:
            raise ConfigError(f"There is no folder or file {name_or_path}. Check the path.")
        raise unknown("data set", name_or_path, BUILT_IN, "The path of a folder, .npz or .npy file works too.")
    if not path.is_dir() and path.suffix.lower() not in (".npz", ".npy"):
        raise ConfigError(f"{path} is not a data set. Give a folder of pictures, an .npz or .npy file, or a name.")
    return path


def holds_pictures(name_or_path: str | Path) -> bool:
    """Whether a data set is a folder of pictures, which can be resized, rather than a packed or a built-in one.

    Raises:  ConfigError if there is no data set of that name or path
    """
    path = data_path(name_or_path)
    return path is not None and path.is_dir() and not holds_packed(path)


def has_splits(name_or_path: str | Path) -> bool:
    """Whether a data set comes with splits of its own, rather than being split here.

    Raises:  ConfigError if there is no data set of that name or path; DataError if it is damaged
    """
    path = data_path(name_or_path)
    if path is None or not holds_pictures(path):
        return path is None or path.is_dir() or bool(named_splits(path))
    return bool(split_folders(path))


def splits_in(name_or_path: str | Path) -> tuple[str, ...]:
    """The splits of a data set that is not a folder of pictures.

    Raises:  ConfigError for an unknown name; DataError if it is damaged
    """
    path = data_path(name_or_path)
    if path is None:
        return builtin_splits(str(name_or_path))
    return packed_splits(path) if path.is_dir() else array_splits(path)
