"""Images to train on and to show: data sets by name or path, levels, single pictures.

Imports only point downward: nothing here depends on models. Heavy libraries are imported where they are used.
"""

from __future__ import annotations

from pixelrnn.data.builtin import BUILT_IN
from pixelrnn.data.cache import cache_folder
from pixelrnn.data.decode import PIXEL_LIMIT
from pixelrnn.data.images import (
    SPLITS,
    ImageData,
    Labels,
    Pixels,
    PixelStore,
    ProgressCallback,
    Shape,
    a_few,
    without_classes,
)
from pixelrnn.data.loading import has_splits, holds_pictures, load_data
from pixelrnn.data.on_disk import OnDisk
from pixelrnn.data.packed import check_packed, load_packed, write_packed
from pixelrnn.data.packing import PackedSet, pack
from pixelrnn.data.pictures import grid, read_mask, read_picture, save_picture
from pixelrnn.data.quantise import BINARISATION_SEED, BINARISATIONS, Levels

__all__ = [
    "BINARISATIONS",
    "BINARISATION_SEED",
    "PIXEL_LIMIT",
    "SPLITS",
    "ImageData",
    "Labels",
    "Levels",
    "OnDisk",
    "PackedSet",
    "PixelStore",
    "Pixels",
    "ProgressCallback",
    "Shape",
    "a_few",
    "cache_folder",
    "check_packed",
    "data_descriptions",
    "data_names",
    "grid",
    "has_splits",
    "holds_pictures",
    "load_data",
    "load_packed",
    "pack",
    "read_mask",
    "read_picture",
    "save_picture",
    "without_classes",
    "write_packed",
]


def data_names() -> list[str]:
    """The names of the built-in data sets, which need no path."""
    return list(BUILT_IN)


def data_descriptions() -> dict[str, str]:
    """Name and one-line description of each built-in data set."""
    return {name: entry.description for name, entry in BUILT_IN.items()}
