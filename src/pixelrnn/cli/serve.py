"""pixelrnn serve: a page on this machine to watch models at work."""

from __future__ import annotations

import typer

from pixelrnn.cli.common import note
from pixelrnn.errors import ConfigError

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn serve\n"
    "  pixelrnn serve runs/digits mnist --port 9000\n"
    "  pixelrnn serve mnist --host 0.0.0.0        # for others on the network\n"
)
DEFAULT = ["mnist", "mnist-any-order", "faces", "cifar10-tiny", "photo", "photo-gray"]


def run(
    runs: list[str] | None = typer.Argument(
        None, metavar="[RUN...]", help="Model folders, or names of `pixelrnn list weights`; by default shipped ones."
    ),
    port: int = typer.Option(8000, "--port", min=0, max=65535, help="0: any that is free."),
    host: str = typer.Option("127.0.0.1", "--host", help="The address to listen on; by default this machine only."),
) -> None:
    """Show a page: watch pixels appear, hide parts of a picture and see completions, look at what a model thinks of a
    pixel, compress.

    Only the models that are named can be reached, nothing else on this machine; the page asks no other host. Ctrl-C
    stops it. Needs: pip install 'pixelrnn[web]'
    """
    try:
        from pixelrnn.web.server import serve
    except ModuleNotFoundError as error:
        raise ConfigError(f"The page needs more packages ({error.name}):  pip install 'pixelrnn[web]'") from error
    from pixelrnn.web.guard import is_loopback

    if not is_loopback(host):
        note(f"everyone who can reach {host}:{port} can use these models, without a password")
    serve(runs or DEFAULT, host, port, typer.echo)
