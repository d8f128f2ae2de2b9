"""pixelrnn score: which images are odd, and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pixelrnn.cli.common import (
    Clock,
    Device,
    RunFolder,
    bar,
    check_not_an_input,
    class_of,
    note,
    note_what_is_left_out,
    parse_size,
    pick_device,
    picture_out,
    several,
)
from pixelrnn.cli.pictures import (
    Chosen,
    DataInstead,
    DataSplit,
    DataValues,
    SkipBroken,
    check_one_of,
    first_images,
    headers_of,
    read_pictures,
)
from pixelrnn.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from pixelrnn.measure.scores import Kind
    from pixelrnn.model import PixelModel
    from pixelrnn.report.maps import Map

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn score mnist three.png scan.png --size 28x28 --maps maps.png\n"
    "  pixelrnn score photo scan.png --maps maps.png --smooth 3\n"
    "  pixelrnn score runs/wafers wafers/ -o scores.csv --kind typicality\n"
    "  pixelrnn score runs/digits --data digits --count 100 -o scores.csv --maps strangest.png\n"
    "  pixelrnn score mnist --normal mnist --odd letters.npz --against runs/background --count 1000\n"
)
KINDS: tuple[Kind, ...] = ("bits", "typicality", "ratio", "complexity")
SHOWN = 16  # images that are printed, and drawn
_BATCH = 25

Row = tuple[str, "dict[Kind, float]"]


def run(
    run: RunFolder,
    pictures: list[Path] | None = typer.Argument(None, metavar="[PICTURE|FOLDER...]", help="Pictures, or folders."),
    data: DataInstead = None,
    split: DataSplit = "test",
    values: DataValues = None,
    count: int | None = typer.Option(None, "--count", min=1, help="The first COUNT images of each data set."),
    against: str | None = typer.Option(
        None, "--against", help="Another model, for the kind ratio: of preset mnist-background, or a local-pixelcnn."
    ),
    kind: str = typer.Option("bits", "--kind", help=f"What images are sorted by: {', '.join(KINDS)}."),
    out: Path | None = typer.Option(None, "-o", "--out", help="A table to write, .csv: every kind for every image."),
    maps: Path | None = typer.Option(
        None,
        "--maps",
        help=f"A picture to write: the {SHOWN} strangest images, and where they are strange.",
        callback=picture_out,
    ),
    smooth: int = typer.Option(
        1, "--smooth", min=1, help="Average the maps over so many pixels in both directions, an odd number: 3, say."
    ),
    size: str | None = typer.Option(None, "--size", help="HxW to crop and resize pictures to; by default as they are."),
    label: str | None = typer.Option(None, "--label", help="A class by name or number, for a class-conditional model."),
    normal: str | None = typer.Option(
        None, "--normal", help="A data set of normal images, by name or path: measures how well --odd is told from it."
    ),
    odd: list[str] = typer.Option([], "--odd", help="A data set of odd images, repeatable."),
    skip_broken: SkipBroken = False,
    device: Device = "auto",
) -> None:
    """Print how strange images are to a model, the strangest first: higher is stranger.

    Kinds, all in bits per dimension: bits, what the model needs for an image (simple images seem usual, whatever they
    show); typicality, how far that is from usual images; ratio, bits less those of another model, --against;
    complexity, bits less those of the best of PNG, WebP and JPEG 2000. See docs/scores.md for what each misses.

    With --normal and --odd: how often an odd image has a higher score than a normal one (AUROC), and how many normal
    ones are taken for odd where 95 % of the odd ones are found (FPR95), with 95 % intervals.
    """
    from pixelrnn.model import PixelModel

    found = _checked(kind, against, maps, smooth)
    where = pick_device(device)
    model, other = PixelModel.load(run, where), None if against is None else PixelModel.load(against, where)
    condition = {} if label is None else {"label": class_of(model, label)}
    note_what_is_left_out(model, condition)
    if size is not None and not pictures:
        raise ConfigError("--size is for pictures; images of a data set are scored as they are.")
    if normal is not None or odd:
        if normal is None or not odd or pictures or data or out or maps:
            raise ConfigError(
                "To compare data sets: --normal SET and --odd SET, without pictures, --data, -o or --maps."
            )
        if len({normal, *odd}) <= len(odd):
            raise ConfigError("--normal and every --odd must be different data sets.")
        sets = {name: _compared(model, name, split, count, values) for name in (normal, *odd)}
        _compare(model, other, sets, condition)
        return
    check_one_of(pictures, data)
    for path in pictures or []:
        if path.suffix.lower() in (".npy", ".npz"):
            raise ConfigError(f"{path} is an array and no picture. Give it as a data set:  --data {path}")
    for output in (out, maps):
        if output is not None:
            check_not_an_input(output, pictures or [])
    if out is not None:
        _check_table(out)
    clock = Clock()
    if pictures:
        chosen = _read(model, _files(pictures, skip_broken)[:count], parse_size(size), skip_broken)
    else:
        chosen = iter([first_images(model, str(data), split, count, values)])
    rows, strangest = _scored(model, other, chosen, found, condition)
    if out is not None:
        _write(rows, out)
    if maps is not None:
        from pixelrnn.report.maps import save_maps

        save_maps(strangest, maps, model.levels, kind, smooth=smooth)
    for name, scores in rows[:SHOWN]:
        typer.echo(f"{name}   " + "   ".join(f"{each} {value:.4f}" for each, value in scores.items()))
    written = "".join(f"{path}  " for path in (out, maps) if path)
    listed = f"{SHOWN} of " if len(rows) > SHOWN else ""
    typer.echo(f"{written}{listed}{several(len(rows), 'image')}, the strangest first by {kind}   {clock.seconds:.1f} s")


def _checked(kind: str, against: str | None, maps: Path | None, smooth: int) -> Kind:
    """Raises ConfigError for an unknown kind, or one that lacks what it needs."""
    if kind == "ratio" and against is None:
        raise ConfigError("--kind ratio needs another model: give --against RUN.")
    if maps is not None and kind in ("typicality", "complexity"):
        raise ConfigError(f"The kind {kind} is of whole images and has no map: use --kind bits or ratio.")
    if smooth % 2 == 0:
        raise ConfigError(f"--smooth takes an odd number of pixels, such as 3, not {smooth}.")
    if smooth > 1 and maps is None:
        raise ConfigError("--smooth averages maps: give --maps as well.")
    for known in KINDS:
        if kind == known:
            return known
    raise unknown("kind of score", kind, KINDS)


def _check_table(out: Path) -> None:
    """Raises ConfigError or DataError, before any work, if the table could not be written."""
    from pixelrnn.data.pictures import check_place

    if out.suffix.lower() != ".csv":
        raise ConfigError(f"The table is written as .csv, so the name must end in .csv: {out}")
    check_place(out)


def _files(paths: list[Path], skip_broken: bool) -> list[Path]:
    """The pictures, and those of the folders, without those whose header cannot be read if they are to be skipped.

    Raises: DataError if a folder has none, or if some cannot be read, which are all named
    """
    from pixelrnn.data.picture_folder import pictures_in

    files: list[Path] = []
    for path in paths:
        found = [each for _, each in pictures_in(path)] if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path} holds no picture.")
        files += found
    readable = headers_of(files, skip_broken)
    return [path for path in files if path in readable]


def _compared(model: PixelModel, name: str, split: str, count: int | None, values: int | None) -> Chosen:
    """The images of a data set: all of one that comes without splits, so that none is left out."""
    from pixelrnn.data import has_splits

    return first_images(model, name, split if has_splits(name) else "all", count, values)


def _read(model: PixelModel, files: list[Path], size: tuple[int, int] | None, skip_broken: bool) -> Iterator[Chosen]:
    """The pictures, those that follow each other and are of one size together.

    Raises: DataError if one cannot be read and is not to be skipped, or if none can be
    """
    import torch

    noted = model.config["network"] == "local-pixelcnn"  # made for pictures of any size
    some: list[tuple[str, Tensor]] = []
    for path in files:
        try:
            image = read_pictures(model, [path], size)
        except DataError as error:
            if not skip_broken:
                raise
            note(f"left out: {error}")
            continue
        if tuple(image.shape[2:]) != model.size and not noted:
            trained, noted = f"{model.size[0]}x{model.size[1]}", True
            note(
                f"the model was trained on {trained}, but {path} is scored at {image.shape[2]}x{image.shape[3]}; to "
                f"resize pictures:  --size {trained}"
            )
        if some and (len(some) == _BATCH or image.shape != some[0][1].shape):
            yield Chosen([name for name, _ in some], torch.cat([each for _, each in some]))
            some = []
        some.append((str(path), image))
    if not some:
        raise DataError("None of the pictures can be read.")
    yield Chosen([name for name, _ in some], torch.cat([each for _, each in some]))


def _scored(
    model: PixelModel, other: PixelModel | None, chosen: Iterator[Chosen], kind: Kind, condition: dict[str, Any]
) -> tuple[list[Row], list[Map]]:
    """A row for each image, and some images with their maps: the strangest first."""
    from heapq import heappop, heappush

    from pixelrnn.measure.scores import MISSING, every_score
    from pixelrnn.report.maps import Map

    rows: list[Row] = []
    strangest: list[tuple[float, int, Map]] = []  # a heap: the first is the least strange
    with bar("scoring") as update:
        for names, images, _ in chosen:
            for first in range(0, len(images), _BATCH):
                some = images[first : first + _BATCH]
                found = every_score(model, some, against=other, **condition)
                if kind not in found:
                    raise ConfigError(MISSING[kind])
                for index, image in enumerate(some):
                    scores = {each: float(one.images[index]) for each, one in found.items()}
                    rows.append((names[first + index], scores))
                    if (pixels := found[kind].pixels) is not None:
                        heappush(strangest, (scores[kind], -len(rows), Map(rows[-1][0], image, pixels[index])))
                        if len(strangest) > SHOWN:
                            heappop(strangest)
                update(first + len(some), len(images))
    rows.sort(key=lambda row: -row[1][kind])
    return rows, [each for _, _, each in sorted(strangest, reverse=True)]


def _write(rows: list[Row], out: Path) -> None:
    """The table, in the order of the rows."""
    import csv
    import io

    from pixelrnn.files import write_atomic

    table = io.StringIO()
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(("image", *rows[0][1]))
    lines.writerows((name, *(f"{value:.6f}" for value in scores.values())) for name, scores in rows)
    try:
        write_atomic(out, table.getvalue().encode())
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}.") from error


def _compare(model: PixelModel, other: PixelModel | None, sets: dict[str, Chosen], condition: dict[str, Any]) -> None:
    """Print how well each kind tells each set from the first one."""
    from pixelrnn.measure.scores import detection, every_score

    found = {}
    for name, chosen in sets.items():
        with bar(f"scoring {name}") as update:
            found[name] = every_score(model, chosen.images, against=other, on_images=update, **condition)
    normal, *odd = found
    for name in odd:
        typer.echo(f"{name} ({len(sets[name].images)}) against {normal} ({len(sets[normal].images)})")
        for kind, usual in found[normal].items():
            told = detection(usual.images, found[name][kind].images)
            (low, high), (least, most) = told.auroc_interval, told.fpr95_interval
            typer.echo(
                f"  {kind:11} AUROC {told.auroc:.3f} [{low:.3f}, {high:.3f}]   "
                f"FPR95 {told.fpr95:.3f} [{least:.3f}, {most:.3f}]"
            )
