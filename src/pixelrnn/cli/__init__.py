"""The command line: one verb per file, thin; figures on standard output, progress on standard error.

Exit status: 0 done, 1 failed, 2 misused.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from pixelrnn.cli import (
    complete,
    demo,
    evaluate,
    inspect,
    interpolate,
    listing,
    pack,
    reconstruct,
    restore,
    sample,
    train,
)
from pixelrnn.errors import ConfigError, PixelRNNError

_INTERRUPTED = 130  # Typer's exit status after Ctrl-C, by a shell's custom

app = typer.Typer(
    name="pixelrnn",
    help="Image models that know the probability of every pixel: train them, measure them, sample from them, finish "
    "half-hidden pictures.\n\nStart here:  pixelrnn demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo", short_help="Train on real digits, measure, sample, complete.", epilog=demo.EXAMPLE)(demo.run)
app.command("list", short_help="What there is: presets, networks, data, models.", epilog=listing.EXAMPLE)(listing.run)
app.command("train", short_help="Train a preset into a run folder.", epilog=train.EXAMPLE)(train.run)
app.command("pack", short_help="Prepare a set larger than memory.", epilog=pack.EXAMPLE)(pack.run)
app.command("evaluate", short_help="Measure nats and bits/dim of a data set.", epilog=evaluate.EXAMPLE)(evaluate.run)
app.command("sample", short_help="Draw new images.", epilog=sample.EXAMPLE)(sample.run)
app.command("complete", short_help="Finish half-hidden pictures.", epilog=complete.EXAMPLE)(complete.run)
app.command("interpolate", short_help="Draw what lies between two pictures.", epilog=interpolate.EXAMPLE)(
    interpolate.run
)
app.command("reconstruct", short_help="Draw images from the code of a picture.", epilog=reconstruct.EXAMPLE)(
    reconstruct.run
)
app.command("restore", short_help="Sharpen small or blurred pictures.", epilog=restore.EXAMPLE)(restore.run)
app.command("inspect", short_help="Prove causality, draw receptive fields.", epilog=inspect.EXAMPLE)(inspect.run)


def _version(wanted: bool) -> None:
    if wanted:
        from pixelrnn import __version__

        typer.echo(f"pixelrnn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and stop."
    ),
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line; every error of ours is one sentence on standard error."""
    try:
        app()
    except PixelRNNError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except BrokenPipeError:
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("Stopped.", file=sys.stderr)
        raise
    sys.exit(0)
