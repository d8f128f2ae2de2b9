"""pixelrnn compress: pictures or a data set in one file, without loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pixelrnn.cli.common import (
    Clock,
    check_not_an_input,
    download_bar,
    note,
    note_compiling,
    note_layout,
    note_split,
    pixel_bar,
    several,
)
from pixelrnn.cli.pictures import DataInstead, DataSplit, DataValues, SkipBroken, check_one_of, headers_of
from pixelrnn.errors import CodecError, ConfigError, DataError

if TYPE_CHECKING:
    from pixelrnn.codec.files import Image
    from pixelrnn.data.decode import Header
    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn compress holiday/ -o holiday.prnn\n"
    "  pixelrnn compress a.png b.png -o two.prnn --model runs/mine-exact\n"
    "  pixelrnn compress --data digits --split test --model runs/digits-exact -o digits.prnn\n"
    "  pixelrnn decompress holiday.prnn -o back\n"
)
PHOTO, PHOTO_GRAY = "photo", "photo-gray"


def run(
    pictures: list[Path] | None = typer.Argument(
        None, metavar="PICTURE|FOLDER...", help="Pictures, or folders of them."
    ),
    out: Path = typer.Option(..., "-o", "--out", help="The file to write, for example pictures.prnn."),
    model: str | None = typer.Option(
        None,
        "--model",
        help=f"An exact model: see pixelrnn quantise. By default {PHOTO}, or {PHOTO_GRAY} for gray pictures.",
    ),
    data: DataInstead = None,
    split: DataSplit = "test",
    values: DataValues = None,
    count: int | None = typer.Option(None, "--count", min=1, help="The first COUNT images only; by default all."),
    pixels_only: bool = typer.Option(
        False, "--pixels-only", help="Leave out colour profiles and EXIF, with which a picture is refused otherwise."
    ),
    skip_broken: SkipBroken = False,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a compressed file that is there already."),
    verify: bool = typer.Option(True, help="Decompress every block and compare it, before it is written."),
) -> None:
    """Compress pictures without loss, with a model that computes in whole numbers.

    Only gray and RGB pictures of 8 bits are taken, as their very pixels; a palette or a single bit as its colours. The
    file can be decompressed on any machine, with the same model. Labels are kept if the model takes them; pictures
    without one get the label that suits them best.
    """
    from pixelrnn.codec import Writer
    from pixelrnn.codec.files import write_images
    from pixelrnn.data.pictures import check_place
    from pixelrnn.files import replacing
    from pixelrnn.model import PixelModel

    check_one_of(pictures, data)
    check_place(out)
    check_not_an_input(out, pictures or [])
    _check_replaceable(out, overwrite)
    named = dict(islice(_named(pictures or []).items(), count))
    headers = headers_of(named.values(), skip_broken)
    named = {name: path for name, path in named.items() if path in headers}
    for path, header in headers.items():
        _check_size(path, header)
    model = model or (PHOTO if data else _model_for({name: headers[path] for name, path in named.items()}))
    used = PixelModel.load(model)
    note_compiling(used)
    name = Path(model).name
    if data:
        total, images = _of_data(used, data, split, values, count)
    else:
        total = sum(math.prod(header.size) for header in headers.values())
        images = _of_files(used, named, pixels_only, skip_broken)
    clock, done, raw = Clock(), 0, 0

    def counted() -> Iterator[Image]:
        nonlocal done, raw
        for image in images:
            done, raw = done + 1, raw + image.pixels.size
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
    typer.echo(f"{out}  {several(done, 'image')}   {size}   {clock.seconds:.1f} s")


def _check_size(path: Path, header: Header) -> None:
    """Raises CodecError, before any work, for a picture that is larger than an archive takes."""
    from pixelrnn.codec.archive import check_size

    try:
        check_size(1 if header.gray else 3, *header.size)
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from error


def _check_replaceable(out: Path, overwrite: bool) -> None:
    """Raises ConfigError if a file is there, unless it is an archive that is to be replaced: a name given by mistake is
    no loss."""
    from pixelrnn.codec.archive import MAGIC

    if out.is_file() and out.stat().st_size:
        with out.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ConfigError(f"{out} exists and is no compressed file of pixelrnn. Name another file with -o.")
        if not overwrite:
            raise ConfigError(f"{out} exists already. Name another file with -o, or replace it:  --overwrite")


def _named(paths: list[Path]) -> dict[str, Path]:
    """The pictures by their names, those of a folder as in the folder."""
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
            named[_kept_name(name, each)] = each
    return named


def _kept_name(name: str, path: Path) -> str:
    """The name in the archive.

    Raises: CodecError if no archive keeps it
    """
    from pixelrnn.codec.files import safe_name

    try:
        name.encode()
        return str(safe_name(name))
    except (UnicodeEncodeError, CodecError) as error:
        raise CodecError(
            f"{str(path)!r} cannot be compressed under its name, which has a colon, a backslash, a line break or "
            "letters that are not UTF-8: not every system could restore it. Rename the file."
        ) from error


def _model_for(headers: dict[str, Header]) -> str:
    """The name of the model for photographs like these."""
    gray, colour = ([name for name, header in headers.items() if header.gray is kind] for kind in (True, False))
    if gray and colour:
        raise ConfigError(
            f"{gray[0]} is gray and {colour[0]} is RGB, but a file holds one kind. Compress them in files of their own."
        )
    return PHOTO_GRAY if gray else PHOTO


def _of_files(model: PixelModel, named: dict[str, Path], pixels_only: bool, skip_broken: bool) -> Iterator[Image]:
    """The pictures, one by one."""
    from pixelrnn.codec.files import Image
    from pixelrnn.data.decode import decode_exactly

    for name, path in named.items():
        try:
            pixels = decode_exactly(path, metadata=not pixels_only)
        except DataError as error:
            if not skip_broken:
                raise
            note(f"left out: {error}")
            continue
        if len(pixels) != model.channels or model.levels != 256:
            kind = {1: "gray", 3: "RGB"}.get(len(pixels))
            raise CodecError(
                f"{path} is {kind} with 256 levels, but the model is for {several(model.channels, 'channel')} and "
                f"{model.levels} levels. Name another with --model."
            )
        yield Image(name, pixels)


def _of_data(
    model: PixelModel, data: str, split: str, values: int | None, count: int | None
) -> tuple[int, Iterator[Image]]:
    """The number of pixels of a split, or its first images, and these as the model's levels, without names, with
    labels if it takes them."""
    from pixelrnn.codec.files import Image
    from pixelrnn.data.loading import holds_pictures
    from pixelrnn.measure.evaluation import check_names, levels_for, load_like

    if holds_pictures(data):
        raise ConfigError(
            f"With --data the pictures of {data} would be brought to the model's size and colours. To keep their very "
            f"pixels:  pixelrnn compress {data} -o FILE.prnn"
        )
    with download_bar() as download:
        found = load_like(model, data, split, values=values, progress=download)
    note_layout(found)
    note_split(found)
    levels = levels_for(model, found)
    if found.labels is not None and model.takes_labels:
        check_names(model, found, "Name another model with --model.")
    if levels.levels < levels.values:
        note(f"the model has {levels.levels} levels, so that is what is kept of {levels.values}: {levels.protocol}")
    pixels = levels.fixed(found.images)[:count]
    labels = None if found.labels is None or not model.takes_labels else [int(each) for each in found.labels]
    images = (Image("", pixels[index], labels[index] if labels else None) for index in range(len(pixels)))
    return len(pixels) * pixels.shape[2] * pixels.shape[3], images
