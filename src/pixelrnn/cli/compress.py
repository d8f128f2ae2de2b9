"""pixelrnn compress: pictures or a data set in one file, without loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pixelrnn.cli.common import (
    Clock,
    check_not_an_input,
    download_bar,
    note_compiling,
    note_layout,
    note_split,
    pixel_bar,
    several,
)
from pixelrnn.cli.pictures import DataInstead, DataSplit, DataValues, check_one_of
from pixelrnn.errors import CodecError, ConfigError, DataError

if TYPE_CHECKING:
    from pixelrnn.codec.files import Image
    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn compress holiday/ -o holiday.prnn\n"
    "  pixelrnn compress a.png b.png -o two.prnn --model runs/mine-exact\n"
    "  pixelrnn compress --data mnist --split test --model runs/digits-exact -o digits.prnn\n"
    "  pixelrnn decompress holiday.prnn -o back\n"
)
DEFAULT = "photo"


def run(
    pictures: list[Path] | None = typer.Argument(
        None, metavar="PICTURE|FOLDER...", help="Pictures, or folders of them."
    ),
    out: Path = typer.Option(..., "-o", "--out", help="The file to write, for example pictures.prnn."),
    model: str = typer.Option(DEFAULT, "--model", help="An exact model: see pixelrnn quantise."),
    data: DataInstead = None,
    split: DataSplit = "test",
    values: DataValues = None,
    pixels_only: bool = typer.Option(
        False, "--pixels-only", help="Leave out colour profiles and EXIF, with which a picture is refused otherwise."
    ),
    verify: bool = typer.Option(True, help="Decompress every block and compare it, before it is written."),
) -> None:
    """Compress pictures without loss, with a model that computes in whole numbers.

    Only 8-bit gray and RGB pictures are taken, as their very pixels. The file can be decompressed on any machine, with
    the same model. Labels are kept if the model takes them; pictures without one get the label that suits them best.
    """
    from pixelrnn.codec import Writer
    from pixelrnn.codec.files import write_images
    from pixelrnn.data.pictures import check_place
    from pixelrnn.files import replacing
    from pixelrnn.model import PixelModel

    check_one_of(pictures, data)
    check_place(out)
    check_not_an_input(out, pictures or [])
    used = PixelModel.load(model)
    note_compiling(used)
    name = Path(model).name
    total, images = _of_data(used, str(data), split, values) if data else _of_files(used, pictures or [], pixels_only)
    clock, count, raw = Clock(), 0, 0

    def counted() -> Iterator[Image]:
        nonlocal count, raw
        for image in images:
            count, raw = count + 1, raw + image.pixels.size
            yield image

    try:
        with pixel_bar("compressing", total * (2 if verify else 1)) as progress, replacing(out) as file:
            writer = Writer(file, used, name)
            write_images(writer, counted(), progress, verify=verify)
            writer.close()
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}.") from error
    bits = 8 * writer.size / max(raw, 1)
    size = f"{writer.size:,} bytes of {raw:,}   {bits:.3f} bits/dim"
    typer.echo(f"{out}  {several(count, 'image')}   {size}   {clock.seconds:.1f} s")


def _of_files(model: PixelModel, paths: list[Path], pixels_only: bool) -> tuple[int, Iterator[Image]]:
    """The number of pixels by the headers, and the pictures one by one, named as in their folder."""
    from pixelrnn.codec.files import Image, safe_name
    from pixelrnn.data.decode import decode_exactly, read_header
    from pixelrnn.data.picture_folder import pictures_in

    named: dict[str, Path] = {}
    for path in paths:
        found = pictures_in(path) if path.is_dir() else [(path.name, path)]
        if not found:
            raise DataError(f"{path} holds no picture.")
        for name, each in found:
            if name in named:
                raise ConfigError(
                    f"{named[name]} and {each} are both called {name}. Compress them in files of their own."
                )
            named[str(safe_name(name))] = each
    headers = {name: read_header(path) for name, path in named.items()}
    total = sum(each.size[0] * each.size[1] for each in headers.values())

    def read() -> Iterator[Image]:
        for name, path in named.items():
            pixels = decode_exactly(path, metadata=not pixels_only)
            if len(pixels) != model.channels or model.levels != 256:
                kind = {1: "gray", 3: "RGB"}.get(len(pixels))
                raise CodecError(
                    f"{path} is {kind} with 256 levels, but the model is for {several(model.channels, 'channel')} and "
                    f"{model.levels} levels. Name another with --model."
                )
            yield Image(name, pixels)

    return total, read()


def _of_data(model: PixelModel, data: str, split: str, values: int | None) -> tuple[int, Iterator[Image]]:
    """The number of pixels of a split, and its images as the model's levels, without names, with labels if it takes
    them."""
    from pixelrnn.codec.files import Image
    from pixelrnn.measure.evaluation import levels_for, load_like

    with download_bar() as download:
        found = load_like(model, data, split, values=values, progress=download)
    note_layout(found)
    note_split(found)
    pixels = levels_for(model, found).fixed(found.images)
    labels = None if found.labels is None or not model.takes_labels else [int(each) for each in found.labels]
    images = (Image("", pixels[index], labels[index] if labels else None) for index in range(len(pixels)))
    return len(pixels) * pixels.shape[2] * pixels.shape[3], images
