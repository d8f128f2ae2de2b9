"""The input pictures of a command: files, or the first images of a data set, as the model's levels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pixelrnn.cli.common import data_set, download_bar, note, note_layout, note_split
from pixelrnn.errors import ConfigError, DataError, ImageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pixelrnn.data.decode import Header
    from pixelrnn.model import PixelModel

DataInstead = Annotated[
    str | None,
    typer.Option(
        "--data", help="Instead of pictures: the first images of a data set, by name or path.", callback=data_set
    ),
]
DataSplit = Annotated[
    str,
    typer.Option("--split", help="train, valid or test; or all, only for a folder or file without splits of its own."),
]
DataValues = Annotated[
    int | None,
    typer.Option("--values", min=2, max=256, help="Number of values in an array file, if not 256: 4 for 0..3."),
]
DataCount = Annotated[int, typer.Option("--count", min=1, help="Number of images of --data.")]


class Chosen(NamedTuple):
    """Images (B, C, H, W) as the model's levels, their names, and their labels (B,) if they have some."""

    names: list[str]
    images: Tensor
    labels: Tensor | None = None


def read_pictures(model: PixelModel, paths: list[Path], size: tuple[int, int] | None) -> Tensor:
    """Picture files as the model's levels (B, C, H, W), cropped and resized to `size`; None: their own size.

    Raises: DataError or ImageError if one cannot be read, or if they are of several sizes
    """
    import numpy as np

    from pixelrnn.data import read_picture

    read = [read_picture(path, channels=model.channels, size=size) for path in paths]
    for path, pixels in zip(paths, read, strict=True):
        if pixels.shape != read[0].shape:
            (height, width), (first_height, first_width) = pixels.shape[1:], read[0].shape[1:]
            raise ImageError(
                f"{path} is {height}x{width}, but {paths[0]} is {first_height}x{first_width}. "
                "Complete them one by one, or resize them to one size with --size HxW."
            )
    return levels_of(model, np.stack(read))


def headers_of(paths: Iterable[Path], skip_broken: bool) -> dict[Path, Header]:
    """The headers of picture files; of those that cannot be read there is a note, if they are to be skipped.

    Raises: DataError, which names all that cannot be read, or if none can
    """
    from pixelrnn.data.decode import read_header

    headers, broken = {}, []
    for path in paths:
        try:
            headers[path] = read_header(path)
        except DataError as error:
            broken.append(str(error))
    if broken and not (skip_broken and headers):
        raise DataError("\n".join([*broken, *([] if skip_broken else ["To leave such pictures out:  --skip-broken"])]))
    for problem in broken:
        note(f"left out: {problem}")
    return headers


SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out pictures that cannot be read; each is named in a note.")
]


def levels_of(model: PixelModel, pixels: np.ndarray) -> Tensor:
    """Bytes as the model's levels; two levels by threshold, so that a picture is always read the same way."""
    import torch

    from pixelrnn.data import Levels

    return torch.from_numpy(Levels(256, model.levels, "threshold" if model.levels == 2 else None).fixed(pixels))


def pictures_or_data(
    model: PixelModel, pictures: list[Path] | None, data: str | None, split: str, count: int, values: int | None
) -> Chosen:
    """Pictures brought to the model's size, or the first `count` images of a data set.

    Raises: ConfigError unless exactly one of the two is given; whatever reading raises
    """
    check_one_of(pictures, data)
    if pictures:
        return Chosen([str(path) for path in pictures], read_pictures(model, pictures, model.size))
    return first_images(model, str(data), split, count, values)


def check_one_of(pictures: list[Path] | None, data: str | None) -> None:
    """Raises ConfigError unless there are pictures or a data set, and not both."""
    if bool(pictures) == (data is not None):
        raise ConfigError("Give either pictures or --data NAME|PATH.")


def first_images(model: PixelModel, data: str | None, split: str, count: int | None, values: int | None) -> Chosen:
    """The first images of a split, as the model's levels: binarised with the whole split, as `evaluate` does.

    data: None for the data set that the model was trained on
    """
    import torch

    from pixelrnn.measure.evaluation import levels_for, load_like
    from pixelrnn.model.conditions import torch_labels

    with download_bar() as download:
        found = load_like(model, data, split, values=values, progress=download)
    note_layout(found)
    note_split(found)
    if not len(found):
        raise DataError(f"{found.name} has no image in its split {split!r}.")
    pixels = levels_for(model, found).fixed(found.images)[:count].copy()
    names = [f"{found.name} {split} {index}" for index in range(len(pixels))]
    return Chosen(names, torch.from_numpy(pixels), None if found.labels is None else torch_labels(found.labels[:count]))
