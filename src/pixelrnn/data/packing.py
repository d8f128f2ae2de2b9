"""Pack any data set, so that it is decoded, unpacked or downloaded only once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pixelrnn.data.images import Labels, Pixels, ProgressCallback, check_requested
from pixelrnn.data.loading import data_path, holds_pictures, load_data, splits_in
from pixelrnn.data.on_disk import chunks
from pixelrnn.data.packed import check_free, write_packed
from pixelrnn.data.picture_folder import find_pictures


@dataclass(frozen=True)
class PackedSet:
    """What was packed: the number of images in each split, the shape (C, H, W) of an image, and the total size."""

    counts: dict[str, int]
    image: tuple[int, int, int]
    skipped: int = 0  # pictures that could not be read and were left out
    layout: str = ""  # as in ImageData

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
    skip_broken: bool = False,
    progress: ProgressCallback | None = None,
) -> PackedSet:
    """Write all splits of a data set into a new folder (see `packed`).

    Pictures of a folder are decoded one by one, and `.npy` files are read piece by piece, so either may be larger than
    memory.

    Arguments:
        source          as for `load_data`
        size, channels  as for `load_data`
        values          number of values a pixel can have: 4 for 0..3; None: that of the data set, 256 for files
        skip_broken     as for `load_data`
        progress        called during a download and while writing: description, bytes done, bytes in all
    Raises:             as `load_data`; DataError if the folder exists or cannot be written
    """
    check_requested(size, channels)
    check_free(Path(folder))
    splits: dict[str, Iterable[Pixels]] = {}
    counts: dict[str, int] = {}
    labels: dict[str, Labels] = {}
    path = data_path(source)
    if path is not None and holds_pictures(path):
        pictures = find_pictures(path, size=size, channels=channels, skip_broken=skip_broken)
        name, found_values, layout = path.resolve().name, 256, ""
        for split, group in pictures.items():
            splits[split], counts[split] = group.decoded(), len(group)
            image, class_names, skipped = group.image, group.class_names, group.skipped
            if group.labels is not None:
                labels[split] = group.labels
    else:
        class_names, skipped, layout = (), 0, ""
        for split in splits_in(source):
            data = load_data(source, split, size=size, channels=channels, progress=progress)
            name, found_values, image = data.name, data.values, (data.channels, *data.size)
            splits[split], counts[split] = chunks(data.images), len(data)
            layout = layout or data.layout
            class_names = max(class_names, data.class_names, key=len)
            if data.labels is not None:
                labels[split] = data.labels
    packed = PackedSet(counts, image, skipped, layout)
    done = 0

    def on_images(count: int) -> None:
        nonlocal done
        done += count * math.prod(image)
        if progress is not None:
            progress(f"packing {name}", done, packed.bytes)

    write_packed(
        folder,
        splits,
        image,
        name=name,
        labels=labels,
        class_names=class_names,
        values=values or found_values,
        on_images=on_images,
    )
    return packed
