"""pixelrnn decompress: the images of a file that `pixelrnn compress` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pixelrnn.cli.common import Clock, note_compiling, pixel_bar, save_array, several
from pixelrnn.errors import CodecError, ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from pixelrnn.codec import Reader
    from pixelrnn.codec.archive import Damage
    from pixelrnn.codec.files import Image
    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn decompress holiday.prnn -o back\n"
    "  pixelrnn decompress holiday.prnn -o back --only beach/sunset.png --only beach/dunes.png\n"
    "  pixelrnn decompress digits.prnn -o some --only 0 --only 17\n"
)
ARRAY, LABELS = "images.npy", "labels.csv"


def run(
    file: Path = typer.Argument(..., help="What pixelrnn compress wrote."),
    out: Path = typer.Option(..., "-o", "--out", help="The folder for the pictures; it is created if it is not there."),
    only: list[str] = typer.Option(
        [],
        "--only",
        help="The name of an image, or its number from 0 if it has none, repeatable: others are not decompressed.",
    ),
    model: str | None = typer.Option(
        None, "--model", help="The folder of the model that compressed it, if it does not come with the package."
    ),
) -> None:
    """Restore the very pixels: pictures as PNG files with their names, images without names as an array images.npy.

    If the model takes labels, those of the images are written to labels.csv. Nothing is overwritten. Of a damaged file,
    all images are restored whose own part of it is whole.
    """
    from pixelrnn.codec.files import read_images

    clock, count, arrays, labels, damage = Clock(), 0, [], [], None
    lost: list[str] = []

    def on_damage(part: Damage, first: int) -> None:
        lost.extend(part.names or [f"image {first + index}" for index in range(part.images)])

    with opened(file) as reader:
        used = model_of(reader, file, model)
        note_compiling(used)
        _made(out)
        try:
            with pixel_bar("decompressing", 0) as progress:
                for image in read_images(reader, used, progress, only=only, on_damage=on_damage):
                    if image.name:
                        _save(image, out)
                    else:
                        arrays.append(image.pixels)
                    if image.label is not None:
                        labels.append((image.name or str(image.number), image.label))
                    count += 1
        except CodecError as error:
            damage = error
    if arrays:
        _save_array(arrays, out / ARRAY)
    if labels:
        _save_labels(labels, used.about.get("class_names"), out / LABELS)
    if damage is not None:
        before = f" Restored before that, in {out}: {several(count, 'image')}." if count else ""
        raise CodecError(f"{damage}{before}") from damage
    if lost:
        raise CodecError(
            f"{file} is damaged: {several(len(lost), 'image')} could not be restored ({_few(lost)}). Restored in {out}:"
            f" {several(count, 'other image')}."
        )
    typer.echo(f"{out}  {several(count, 'image')}   {clock.seconds:.1f} s")


def _few(names: list[str]) -> str:
    """The first names.

    >>> _few(["a", "b", "c", "d", "e"])
    'a, b, c, ...'
    """
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


@contextmanager
def opened(file: Path) -> Iterator[Reader]:
    """A reader of an archive.

    Raises: CodecError if it is none; DataError if it cannot be read
    """
    from pixelrnn.codec import Reader

    try:
        stream = file.open("rb")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    with stream:
        yield Reader(stream)


def model_of(reader: Reader, file: Path, model: str | None) -> PixelModel:
    """The model that an archive was made with: the one that is given, or one of the package.

    Raises: ConfigError if it does not come with the package, CodecError if it is another one
    """
    from pixelrnn.model import PixelModel
    from pixelrnn.model.model_folder import shipped

    if model is None and reader.header.model not in shipped():
        raise ConfigError(
            f"{file} was compressed with the model {reader.header.model!r}, which does not come with the package. Give "
            "its folder:  --model FOLDER"
        )
    used = PixelModel.load(model or reader.header.model)
    reader.check_model(used)
    return used


def _made(folder: Path) -> None:
    """Raises: DataError if the folder is not there and cannot be made"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made: {error.strerror or error}. Choose another folder with -o."
        ) from error


def _save(image: Image, out: Path) -> None:
    """Write a picture as PNG under its name, in the folder."""
    from PIL import Image as Pictures

    from pixelrnn.codec.files import safe_name
    from pixelrnn.data import save_picture

    path = out / safe_name(image.name)
    path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
    if path.exists():
        raise DataError(f"{path} is there already. Choose another folder with -o.")
    if len(image.pixels) not in (1, 3):
        raise CodecError(f"{image.name} has {len(image.pixels)} channels, which no PNG file holds.")
    _made(path.parent)
    pixels = image.pixels[0] if len(image.pixels) == 1 else image.pixels.transpose(1, 2, 0)
    save_picture(Pictures.fromarray(pixels), path)


def _save_labels(labels: list[tuple[str, int]], names: list[str] | None, path: Path) -> None:
    """A table of the images and their classes: by name if the model knows it, empty for none."""
    import csv
    import io

    from pixelrnn.codec import NO_LABEL
    from pixelrnn.files import write_atomic

    if path.exists():
        raise DataError(f"{path} is there already. Choose another folder with -o.")
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    called = {NO_LABEL: "", **dict(enumerate(names or []))}
    rows.writerow(("image", "label"))
    rows.writerows((image, called.get(label, label)) for image, label in labels)
    write_atomic(path, table.getvalue().encode())


def _save_array(arrays: list[np.ndarray], path: Path) -> None:
    import numpy as np

    if path.exists():
        raise DataError(f"{path} is there already. Choose another folder with -o.")
    if len({each.shape for each in arrays}) > 1:
        raise CodecError("The file holds images of several sizes without names, which are no array.")
    save_array(np.stack(arrays), path)
