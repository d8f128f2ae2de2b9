"""Images to train on and to show: data sets by name or path, levels, single pictures.

Imports point down only: nothing here knows of models. Heavy libraries are imported where they are used.
"""

from __future__ import annotations

from pixelrnn.data.builtin import BUILT_IN
from pixelrnn.data.cache import cache_folder
from pixelrnn.data.decode import PIXEL_LIMIT
from pixelrnn.data.images import SPLITS, ImageData, Labels, Pixels, PixelStore, Progress, a_few
from pixelrnn.data.loading import holds_pictures, load_data
from pixelrnn.data.mapped import Shards
from pixelrnn.data.packing import Packed, pack
from pixelrnn.data.pictures import grid, read_mask, read_picture, save_picture
from pixelrnn.data.quantise import BINARISATION_SEED, BINARISATIONS, Levels
from pixelrnn.data.shards import check_shards, load_shards, write_shards

__all__ = [
    "BINARISATIONS",
    "BINARISATION_SEED",
    "PIXEL_LIMIT",
    "SPLITS",
    "ImageData",
    "Labels",
    "Levels",
    "Packed",
    "PixelStore",
    "Pixels",
    "Progress",
    "Shards",
    "a_few",
    "cache_folder",
    "check_shards",
    "data_descriptions",
    "data_names",
    "grid",
    "holds_pictures",
    "load_data",
    "load_shards",
    "pack",
    "read_mask",
    "read_picture",
    "save_picture",
    "write_shards",
]


def data_names() -> list[str]:
    """The names of the data sets that need no path."""
    return list(BUILT_IN)


def data_descriptions() -> dict[str, str]:
    """Name and one-line description of each data set that needs no path."""
    return {name: entry.description for name, entry in BUILT_IN.items()}
