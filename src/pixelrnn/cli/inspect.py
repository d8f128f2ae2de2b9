"""pixelrnn inspect: prove a network's causality and draw its receptive field; say what is in a compressed file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pixelrnn.cli.common import ORDER_HELP, parse_size, run_folder, several
from pixelrnn.errors import ConfigError

if TYPE_CHECKING:
    from pixelrnn.measure.inspection import CausalityReport
    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn inspect mnist\n"
    "  pixelrnn inspect pixelcnn --set layers=7 --size 28x28 --plot field.png\n"
    "  pixelrnn inspect all --pixel 15,13 --plot fields.png\n"
    "  pixelrnn inspect pixel-transformer --order s-curve-3 --plot field.png\n"
    "  pixelrnn inspect holiday.prnn\n"
)


def run(
    what: list[str] = typer.Argument(
        ...,
        metavar="RUN|NETWORK|FILE...",
        help="Model folders, names of `pixelrnn list networks` or `weights`, or: all; or one compressed file",
    ),
    plot: Path | None = typer.Option(None, "--plot", help="Draw the receptive fields side by side."),
    size: str | None = typer.Option(None, "--size", help="HxW of the image; by default the training size, or 28x28."),
    pixel: str | None = typer.Option(None, "--pixel", help="ROW,COLUMN of the pixel; by default the middle."),
    order: str | None = typer.Option(
        None,
        "--order",
        help=f"{ORDER_HELP}; five random ones are proved in any case. Of several networks, for those.",
    ),
    changes: list[str] = typer.Option([], "--set", help="KEY=VALUE, an option of networks by name: layers=7."),
) -> None:
    """Prove that a network is causal, and measure its receptive field by gradients.

    Of a compressed file: what is in it, without decompressing it.
    """
    if len(what) == 1 and Path(what[0]).is_file():
        if plot or size or pixel or order or changes:
            raise ConfigError(f"{what[0]} is a compressed file, which takes no options of a network.")
        _archive(Path(what[0]))
        return
    import pixelrnn
    from pixelrnn.canvas import Order
    from pixelrnn.measure.inspection import draw_fields, seen_by
    from pixelrnn.training.presets import parse_change

    names = pixelrnn.network_names() if what == ["all"] else [run_folder(name) for name in what]
    options = dict(parse_change(change) for change in changes)
    if len(names) > 1:
        _check_options(options, names)
    models = [_model(name, options, of_many=len(names) > 1) for name in names]
    wanted = parse_size(size)
    places = [_place(pixel, wanted or model.size) for model in models]
    of_any = [model.network.orders == "any" for model in models]
    orders = [order if taken or not any(of_any) else None for taken in of_any]
    for model, (row, column), name in zip(models, places, orders, strict=True):
        report = _proved(model, name)
        height, width = wanted or model.size
        along = Order.named(name, height, width) if name else model.network.order(height, width)
        seen = seen_by(model, row, column, (height, width), along)
        past = int(along.ranks[row, column])
        built = ", ".join(f"{key}={value}" for key, value in model.config["options"].items())
        typer.echo(f"{model.config['network']}  {built}  {model.num_parameters:,} parameters")
        typer.echo(
            f"causal: verified{f' in {report.orders} orders' if report.orders > 1 else ''}. In "
            f"{report.height}x{report.width} images, all {report.pairs:,} gradients of a pixel's "
            "parameters with respect to the pixel itself and later ones are zero, and replacing those pixels changed "
            f"no parameter ({report.replacements:,} checks)"
        )
        typer.echo(_compiled(model))
        typer.echo(
            f"receptive field of pixel ({row}, {column}) in {height}x{width}: sees {int(seen.sum())} of {past} earlier "
            f"pixels, {past - int(seen.sum())} not seen"
        )
    if plot:
        draw_fields(models, plot, wanted, places[0] if pixel else None, orders)
        typer.echo(f"{plot}")


def _proved(model: PixelModel, order: str | None) -> CausalityReport:
    """The proof in one order, by default the network's own, and if it takes any in five random ones as well."""
    from pixelrnn.measure.inspection import prove_causal

    if model.network.orders != "any":
        return prove_causal(model, order=order)
    names = dict.fromkeys([order or model.network.own_order, *(f"random-{seed}" for seed in range(5))])
    reports = [prove_causal(model, order=name) for name in names]
    return dataclasses.replace(
        reports[0],
        pairs=sum(each.pairs for each in reports),
        replacements=sum(each.replacements for each in reports),
        orders=len(reports),
    )


def _archive(file: Path) -> None:
    """What a compressed file says of itself; its checksums are verified."""
    from pixelrnn.cli.decompress import opened
    from pixelrnn.codec.archive import Damage
    from pixelrnn.errors import CodecError
    from pixelrnn.model.model_folder import shipped

    with opened(file) as reader:
        header, images, pixels, damaged = reader.header, 0, 0, 0
        for block in reader.parts():
            images, pixels = images + block.images, pixels + block.pixels
            if isinstance(block, Damage):
                damaged += block.images
                for name in block.names or [several(block.images, "image")]:
                    typer.echo(f"  {name}   damaged")
                continue
            bits = 8 * block.size / (block.pixels * header.channels)
            kind = "stored" if block.kind == 2 else "coded"
            together = (
                f" together with {several(block.images - 1, 'other')}" if block.names and block.images > 1 else ""
            )
            for name in block.names or [several(block.images, "image")]:
                typer.echo(f"  {name}  {block.height}x{block.width}   {bits:.3f} bits/dim, {kind}{together}")
    if damaged:
        raise CodecError(
            f"{file} is damaged: {damaged} of its {several(images, 'image')} cannot be restored; pixelrnn decompress "
            "restores the others."
        )
    size = file.stat().st_size
    where = "comes with the package" if header.model in shipped() else "needed as --model FOLDER"
    typer.echo(
        f"{file}  {several(images, 'image')}, {several(header.channels, 'channel')}, {header.levels} levels"
        f"{f', labels of {header.classes} classes' if header.classes else ''}   "
        f"{size:,} bytes   {8 * size / max(pixels * header.channels, 1):.3f} bits/dim   all checksums are right"
    )
    typer.echo(f"model: {header.model} ({header.fingerprint.hex()}), {where}")


def _compiled(model: PixelModel) -> str:
    """Whether sampling can be compiled, and what a pixel takes then."""
    why = model.not_compiled()
    if why is not None:
        return f"sampling: on PyTorch; it cannot be compiled: {why}"
    tables = model.programs()
    instructions = sum(each.instructions for each in tables)
    products = [sum(each.products) for each in tables]
    earlier = sum(maps for each in tables for maps, _ in each.attention)
    return (
        f"sampling: compiled, {instructions} instructions and {' + '.join(f'{each:,}' for each in products)} "
        f"multiplications per pixel{f', and {earlier:,} for each earlier one that it attends to' if earlier else ''}"
    )


_GEOMETRY = ("channels", "levels", "head")


def _place(pixel: str | None, size: tuple[int, int]) -> tuple[int, int]:
    from pixelrnn.errors import ConfigError

    if pixel is None:
        return size[0] // 2, size[1] // 2
    parts = pixel.split(",")
    if len(parts) == 2 and all(part.strip().isdecimal() for part in parts):
        row, column = (int(part) for part in parts)
        if row < size[0] and column < size[1]:
            return row, column
    raise ConfigError(
        f"--pixel takes ROW,COLUMN inside the {size[0]}x{size[1]} image, for example --pixel 0,0, but got {pixel!r}."
    )


def _check_options(options: dict[str, Any], names: list[str]) -> None:
    """Raises ConfigError for an option that none of the networks has."""
    from pixelrnn.errors import unknown
    from pixelrnn.networks import NETWORKS, options_of

    known = {*_GEOMETRY, *(key for name in names if name in NETWORKS for key in options_of(name))}
    for key in options:
        if key not in known:
            raise unknown("option of these networks", key, known)


def _model(what: str, changes: dict[str, Any], *, of_many: bool) -> PixelModel:
    """A model by folder or name; with many networks, each gets only those options that it has."""
    import pixelrnn
    from pixelrnn.errors import unknown
    from pixelrnn.model.model_folder import shipped
    from pixelrnn.networks import NOT_NETWORKS, options_of

    if Path(what).is_dir() or what in shipped() or what.startswith("hf://"):
        if changes and not of_many:
            raise ConfigError(f"--set builds networks by name, and {what} is a trained model: leave --set out.")
        return pixelrnn.load(what)
    if Path(what).is_file():
        raise ConfigError(f"{what} is a file. Compressed files are inspected one at a time:  pixelrnn inspect {what}")
    if what not in [*pixelrnn.network_names(), *NOT_NETWORKS]:
        raise unknown("model folder or network", what, pixelrnn.network_names())
    known = options_of(what)
    options: dict[str, Any] = {key: value for key, value in {"layers": 7, "width": 8}.items() if key in known}
    options |= {key: value for key, value in changes.items() if not of_many or key in {*known, *_GEOMETRY}}
    channels, levels = options.pop("channels", 1), options.pop("levels", 2)
    return pixelrnn.build(what, size=(28, 28), channels=channels, levels=levels, **options)
