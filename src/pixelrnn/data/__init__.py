"""Images to train on and to show: data sets by name or path, levels, single pictures.

Imports point down only: nothing here knows of models. Heavy libraries are imported where they are used.
"""

from __future__ import annotations

from pathlib import Path

from pixelrnn.data.arrays import load_array_file
from pixelrnn.data.builtin import BUILT_IN, load_builtin
from pixelrnn.data.cache import cache_folder
from pixelrnn.data.decode import PIXEL_LIMIT
from pixelrnn.data.folder import load_folder
from pixelrnn.data.images import SPLITS, ImageData, Labels, Pixels, Progress, check_fits, check_split, check_wishes
from pixelrnn.data.pictures import grid, read_mask, read_picture, save_picture
from pixelrnn.data.quantise import BINARISATION_SEED, BINARISATIONS, Levels
from pixelrnn.errors import ConfigError, unknown

__all__ = [
    "BINARISATIONS",
    "BINARISATION_SEED",
    "PIXEL_LIMIT",
    "SPLITS",
    "ImageData",
    "Labels",
    "Levels",
    "Pixels",
    "Progress",
    "cache_folder",
    "data_descriptions",
    "data_names",
    "grid",
    "load_data",
    "read_mask",
    "read_picture",
    "save_picture",
]


def data_names() -> list[str]:
    """The names of the data sets that need no path."""
    return list(BUILT_IN)


def data_descriptions() -> dict[str, str]:
    """Name and one-line description of each data set that needs no path."""
    return {name: entry.description for name, entry in BUILT_IN.items()}


def load_data(
    name_or_path: str | Path,
    split: str,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    progress: Progress | None = None,
) -> ImageData:
    """One split (train, valid, test) of a data set, by name or by the path of a folder, `.npz` or `.npy` file.

    A name wins over a path: write ./mnist for a folder called mnist.

    size:      (rows, columns). Pictures of a folder are cropped and resized to it; other data must have it.
    channels:  1 or 3. Pictures of a folder are converted to it; other data must have it.
    progress:  told of a download: description, bytes done, bytes in all
    Shapes:    images (N, C, H, W) uint8, labels (N,) int64 or None
    Raises:    ConfigError for an unknown name, split, size or channels; ImageError for images that do not fit;
               DataError for what is absent, unreadable, empty or too large; DownloadError for what cannot be fetched
    """
    check_split(split)
    check_wishes(size, channels)
    if isinstance(name_or_path, str) and name_or_path in BUILT_IN:
        return check_fits(load_builtin(name_or_path, split, progress), size, channels)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return load_folder(path, split, size=size, channels=channels)
    if not path.exists():
        raise unknown("data set", name_or_path, BUILT_IN, "The path of a folder, .npz or .npy file works too.")
    if path.suffix.lower() not in (".npz", ".npy"):
        raise ConfigError(f"{path} is no data set. Give a folder of pictures, an .npz or .npy file, or a name.")
    return check_fits(load_array_file(path, split), size, channels)
