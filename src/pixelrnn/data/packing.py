"""Any data set as one of shards: what is decoded, unpacked or downloaded once need not be again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pixelrnn.data.images import Labels, Pixels, Progress, check_wishes
from pixelrnn.data.loading import data_path, holds_pictures, load_data, splits_in
from pixelrnn.data.mapped import chunks
from pixelrnn.data.picture_folder import find_pictures
from pixelrnn.data.shards import SHARD_BYTES, check_free, write_shards
from pixelrnn.errors import ConfigError


@dataclass(frozen=True)
class Packed:
    """What was packed: the number of images of each split, (C, H, W) of an image, and the bytes of all images."""

    counts: dict[str, int]
    image: tuple[int, int, int]

    @property
    def bytes(self) -> int:
        return sum(self.counts.values()) * math.prod(self.image)


def pack(
    source: str | Path,
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    values: int | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Packed:
    """Write all splits of a data set into a new folder, see `shards`.

    Pictures of a folder are decoded one by one, and `.npy` files are read piece by piece, so that either may be larger
    than memory.

    source:          as for `load_data`
    size, channels:  as for `load_data`
    values:          how many a pixel may have, 4 for 0..3; None: what the data set says, 256 for files
    shard_bytes:     of images in one file
    progress:        told of a download and of what is written: description, bytes done, bytes in all
    Raises:          as `load_data`; DataError if the folder exists or cannot be written
    """
    check_wishes(size, channels)
    if shard_bytes < 1:
        raise ConfigError(f"A file holds 1 byte or more, not {shard_bytes}.")
    check_free(Path(folder))
    found = _open(source, size, channels, progress)
    packed = Packed({split: each.count for split, each in found.splits.items()}, found.image)
    done = 0

    def on_images(count: int) -> None:
        nonlocal done
        done += count * math.prod(found.image)
        if progress is not None:
            progress(f"packing {found.name}", done, packed.bytes)

    write_shards(
        Path(folder),
        {split: each.images for split, each in found.splits.items()},
        found.image,
        name=found.name,
        labels={split: each.labels for split, each in found.splits.items() if each.labels is not None},
        class_names=found.class_names,
        values=values or found.values,
        shard_bytes=shard_bytes,
        on_images=on_images,
    )
    return packed


@dataclass(frozen=True)
class _Split:
    count: int
    images: Iterable[Pixels]
    labels: Labels | None


@dataclass(frozen=True)
class _Source:
    name: str
    image: tuple[int, int, int]
    class_names: tuple[str, ...]
    values: int
    splits: dict[str, _Split]


def _open(source: str | Path, size: tuple[int, int] | None, channels: int | None, progress: Progress | None) -> _Source:
    path = data_path(source)
    if path is not None and holds_pictures(path):
        pictures = find_pictures(path, size=size, channels=channels)
        one = next(iter(pictures.values()))
        splits = {split: _Split(len(each), each.decoded(), each.labels) for split, each in pictures.items()}
        return _Source(path.resolve().name, one.image, one.class_names, 256, splits)
    loaded = {
        split: load_data(source, split, size=size, channels=channels, progress=progress) for split in splits_in(source)
    }
    data = next(iter(loaded.values()))
    names = max((each.class_names for each in loaded.values()), key=len)
    splits = {split: _Split(len(each), chunks(each.images), each.labels) for split, each in loaded.items()}
    return _Source(data.name, (data.channels, *data.size), names, data.values, splits)
