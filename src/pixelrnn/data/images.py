"""What every reader returns: one split of a data set, with all images of the same size.

Shapes:  images (N, C, H, W) uint8 with values 0..values-1, labels (N,) int64 or None
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pixelrnn.data.on_disk import OnDemand
from pixelrnn.data.pixels import Pixels as Pixels
from pixelrnn.errors import ConfigError, ImageError, unknown

PixelStore: TypeAlias = Pixels | OnDemand
"""Images in memory, or read on demand. Both have a shape and are read with `images[positions]`."""
Labels: TypeAlias = npt.NDArray[np.int64]
ProgressCallback: TypeAlias = Callable[[str, int, int], None]
"""Called with a description, the bytes done and the bytes in all (0 if that is not known)."""
Shape: TypeAlias = tuple[int, int, int, int]
"""(N, C, H, W)."""

_LOOKED_AT = 1 << 25  # values
SPLITS = ("train", "valid", "test")
MOST_CLASSES = 10_000  # more different labels are numbers of something else
ALL = "all"  # every image of a data set that comes without splits and is otherwise split here


@dataclass(frozen=True, eq=False)
class ImageData:
    """One split of a data set.

    Shapes:  images (N, C, H, W) uint8, values 0..values-1, read only, possibly read on demand (`OnDemand`);
             labels (N,) int64, indices into class_names, or None if the data set has none
    """

    name: str
    split: str
    images: PixelStore
    labels: Labels | None
    class_names: tuple[str, ...]
    values: int
    """The number of values a pixel can have in the source: 256 for bytes, 17 for the digits."""
    total: int | None = None
    """The number of images in all splits, if the data set came without splits and is split here."""
    skipped: int = 0
    """The number of unreadable pictures of a folder that were left out, as requested."""
    layout: str = ""
    """If the images are from an array whose shape fits two layouts: which one was taken, as a phrase."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W): rows and columns."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def channels(self) -> int:
        """C: 1 for gray, 3 for colour."""
        return int(self.images.shape[1])


def a_few(images: PixelStore) -> Pixels:
    """The first images, at most 32 million values (but at least one image): enough to see their range."""
    return images[: max(1, _LOOKED_AT // math.prod(images.shape[1:]))]


def without_classes(data: ImageData, names: Sequence[str]) -> ImageData:
    """The data without the images of some classes; the others keep their labels.

    Raises: ConfigError for a class that the data does not have, or if no image is left

    >>> from pixelrnn.data import load_data
    >>> len(load_data("digits", "test")), len(without_classes(load_data("digits", "test"), ["7"]))
    (300, 270)
    """
    if not names:
        return data
    if data.labels is None:
        raise ConfigError(f"{data.name} has no classes, so none can be left out.")
    for name in names:
        if name not in data.class_names:
            raise unknown(f"class of {data.name}", name, data.class_names)
    kept = ~np.isin(data.labels, [data.class_names.index(name) for name in names])
    if not kept.any():
        raise ConfigError(f"Without the classes {', '.join(names)}, {data.name} has no image left.")
    return dataclasses.replace(data, images=np.asarray(data.images[np.flatnonzero(kept)]), labels=data.labels[kept])


def check_split(split: str, splits: tuple[str, ...] = SPLITS) -> None:
    """Raises ConfigError unless `split` is one of `splits`."""
    if split == ALL and ALL not in splits:
        raise ConfigError(
            "The split 'all' is only for folders and files without splits of their own. Use train, valid or test."
        )
    if split not in splits:
        raise unknown("split", split, splits)


def check_requested(size: tuple[int, int] | None, channels: int | None) -> None:
    """Raises ConfigError unless size is (rows, columns) of at least 1 and channels is 1, 3 or None."""
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ConfigError(f"The size must be rows and columns of at least 1, such as (32, 32), but got {size!r}.")
    if channels not in (None, 1, 3):
        raise ConfigError(f"Images are read with 1 channel (gray) or 3 (colour), but got {channels!r}.")


def check_fits(data: ImageData, size: tuple[int, int] | None, channels: int | None, name: str) -> ImageData:
    """Return `data` unchanged; raises ImageError if its size or channel count is not the requested one.

    `name` is what the user calls the data set: a packed one keeps the name of what it was packed from.
    For data sets that are used as they are: only folders of pictures are resized and converted.
    """
    if size is not None and tuple(size) != data.size:
        (rows, columns), (want_rows, want_columns) = data.size, size
        raise ImageError(
            f"{name} has images of {rows} x {columns} (rows x columns), but {want_rows} x {want_columns} was "
            "requested. Leave the size out: only folders of pictures are resized."
        )
    if channels is not None and channels != data.channels:
        raise ImageError(
            f"{name} has {data.channels} channel(s), but {channels} was requested. "
            "Leave the channels out: only folders of pictures are converted."
        )
    return data
