"""pixelrnn inspect: what a network sees, and that it sees no more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pixelrnn.cli.common import parse_size

if TYPE_CHECKING:
    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn inspect runs/digits\n"
    "  pixelrnn inspect pixelcnn --set layers=7 --size 28x28 --plot field.png\n"
)


def run(
    what: str = typer.Argument(
        ..., metavar="RUN|NETWORK", help="A model folder, or a name of `pixelrnn list networks`."
    ),
    plot: Path | None = typer.Option(None, "--plot", help="Draw what the middle pixel sees."),
    size: str | None = typer.Option(None, "--size", help="HxW to look at; left out: as trained, or 28x28."),
    changes: list[str] = typer.Option([], "--set", help="KEY=VALUE of a network by name, for example layers=7."),
) -> None:
    """Prove that a network is causal, and measure its receptive field by gradients."""
    from pixelrnn.inspection import draw_field, prove_causal, seen_by

    model = _model(what, changes)
    height, width = parse_size(size) or model.size
    report = prove_causal(model)
    row, column = height // 2, width // 2
    seen = draw_field(model, plot, (height, width)) if plot else seen_by(model, row, column, (height, width))
    past, blind = row * width + column, row * width + column - int(seen.sum())
    options = ", ".join(f"{key}={value}" for key, value in model.config["options"].items())
    typer.echo(f"{model.config['network']}  {options}  {model.num_parameters:,} parameters")
    typer.echo(
        f"causal: {report.pairs:,} gradients at the present and the future of {report.height}x{report.width} images "
        f"are exactly zero, and {report.replacements} replacements of the future moved no bit"
    )
    typer.echo(
        f"receptive field of pixel ({row}, {column}) in {height}x{width}: sees {int(seen.sum())} of {past} earlier "
        f"pixels, {blind} not seen"
    )
    if plot:
        typer.echo(f"{plot}")


def _model(what: str, changes: list[str]) -> PixelModel:
    import tomllib

    import pixelrnn
    from pixelrnn.errors import ConfigError, unknown

    if Path(what).is_dir():
        return pixelrnn.load(what)
    if what not in pixelrnn.networks():
        raise unknown("model folder or network", what, pixelrnn.networks())
    options: dict[str, Any] = {"layers": 7, "width": 8}
    for change in changes:
        key, equals, value = change.partition("=")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            equals = ""
        if not equals:
            raise ConfigError(f"--set takes KEY=VALUE, for example --set layers=7, but {change!r} came.")
    channels, levels = options.pop("channels", 1), options.pop("levels", 2)
    return pixelrnn.build(what, size=(28, 28), channels=channels, levels=levels, **options)
