"""The command line: one file per command; results on standard output, progress and notes on standard error.

Exit status: 0 success, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from pixelrnn.cli import (
    complete,
    compress,
    decompress,
    demo,
    doctor,
    evaluate,
    inspect,
    interpolate,
    listing,
    pack,
    quantise,
    reconstruct,
    restore,
    sample,
    score,
    serve,
    train,
)
from pixelrnn.errors import ConfigError, PixelRNNError

_INTERRUPTED = 130  # the exit status after Ctrl-C, by convention

app = typer.Typer(
    name="pixelrnn",
    help="Autoregressive image models of the PixelRNN and PixelCNN family: train them, evaluate their exact "
    "likelihood, sample from them, complete images.\n\nStart here:  pixelrnn demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo", short_help="Train on real digits, evaluate, sample, complete.", epilog=demo.EXAMPLE)(demo.run)
app.command("list", short_help="List presets, networks, data sets, models.", epilog=listing.EXAMPLE)(listing.run)
app.command("train", short_help="Train a preset in a run folder.", epilog=train.EXAMPLE)(train.run)
app.command("pack", short_help="Prepare a data set larger than memory.", epilog=pack.EXAMPLE)(pack.run)
app.command("evaluate", short_help="Measure nats and bits/dim on a data set.", epilog=evaluate.EXAMPLE)(evaluate.run)
app.command("sample", short_help="Generate new images.", epilog=sample.EXAMPLE)(sample.run)
app.command("complete", short_help="Complete partly known pictures.", epilog=complete.EXAMPLE)(complete.run)
app.command("interpolate", short_help="Interpolate between two pictures.", epilog=interpolate.EXAMPLE)(interpolate.run)
app.command("reconstruct", short_help="Sample from the code of a picture.", epilog=reconstruct.EXAMPLE)(reconstruct.run)
app.command("restore", short_help="Restore small or blurred pictures.", epilog=restore.EXAMPLE)(restore.run)
app.command("score", short_help="Find odd images, and odd places in them.", epilog=score.EXAMPLE)(score.run)
app.command("serve", short_help="Show models at work in a page.", epilog=serve.EXAMPLE)(serve.run)
app.command("quantise", short_help="Make a model exact, for compression.", epilog=quantise.EXAMPLE)(quantise.run)
app.command("compress", short_help="Compress pictures without loss.", epilog=compress.EXAMPLE)(compress.run)
app.command("decompress", short_help="Restore compressed pictures.", epilog=decompress.EXAMPLE)(decompress.run)
app.command("doctor", short_help="Say on what it runs, for a bug report.", epilog=doctor.EXAMPLE)(doctor.run)
app.command("inspect", short_help="Prove causality, draw receptive fields.", epilog=inspect.EXAMPLE)(inspect.run)


def _version(wanted: bool) -> None:
    if wanted:
        from pixelrnn import __version__

        typer.echo(f"pixelrnn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line; the package's own errors are printed on standard error without a traceback."""
    try:
        app(prog_name="pixelrnn")  # also when a test runner or `python -m` started it
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
