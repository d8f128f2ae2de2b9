"""pixelrnn pack: write any data set, however large, as a folder of arrays that are read image by image."""

from __future__ import annotations

from pathlib import Path

import typer

from pixelrnn.cli.common import Clock, data_set, download_bar, note, parse_size, several
from pixelrnn.errors import ConfigError

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn pack photos/ --out photos-32 --size 32x32\n"
    "  pixelrnn train digits --out runs/photos --data photos-32 --set levels=16\n"
    "  pixelrnn pack --check photos-32\n"
)


def run(
    source: str | None = typer.Argument(
        None, help="A data set's name, a folder of pictures, an .npz or .npy file.", callback=data_set
    ),
    out: Path | None = typer.Option(None, "--out", help="The folder to create; it must not exist."),
    size: str | None = typer.Option(None, "--size", help="HxW to crop and resize the pictures of a folder to."),
    channels: int | None = typer.Option(
        None, "--channels", help="1 for gray, 3 for colour; by default gray if all pictures of the folder are."
    ),
    values: int | None = typer.Option(
        None,
        "--values",
        min=2,
        max=256,
        help="Number of values in an array file, if not 256: 4 for 0..3.",
    ),
    skip_broken: bool = typer.Option(False, "--skip-broken", help="Leave out pictures that cannot be read."),
    check: Path | None = typer.Option(
        None, "--check", help="Instead: verify every file of a packed folder against its checksum."
    ),
) -> None:
    """Decode a data set once, into a folder that --data takes and that may be larger than memory.

    All its splits are packed. Pictures are decoded one by one.
    """
    clock = Clock()
    if check is not None and source is None and out is None:
        _check(check, clock)
    elif check is None and source is not None and out is not None:
        _pack(source, out, parse_size(size), channels, values, skip_broken, clock)
    else:
        raise ConfigError("Give either SOURCE --out FOLDER, to pack a data set, or --check FOLDER.")


def _pack(
    source: str,
    out: Path,
    size: tuple[int, int] | None,
    channels: int | None,
    values: int | None,
    skip_broken: bool,
    clock: Clock,
) -> None:
    from pixelrnn.data import pack

    with download_bar() as update:
        packed = pack(
            source, out, size=size, channels=channels, values=values, skip_broken=skip_broken, progress=update
        )
    if packed.layout:
        note(packed.layout)
    if packed.skipped:
        note(f"left out, because it could not be read: {several(packed.skipped, 'picture')}")
    counts = ", ".join(f"{split} {count}" for split, count in packed.counts.items())
    depth, height, width = packed.image
    typer.echo(
        f"{out}  {counts} images {height}x{width}, {several(depth, 'channel')}   "
        f"{packed.bytes / 1e6:.1f} MB   {clock.seconds:.1f} s"
    )


def _check(folder: Path, clock: Clock) -> None:
    from pixelrnn.data import check_packed

    with download_bar() as update:
        files, size = check_packed(folder, progress=update)
    typer.echo(f"{folder}  {several(files, 'file')} intact   {size / 1e6:.1f} MB   {clock.seconds:.1f} s")
