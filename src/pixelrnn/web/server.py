"""Run the page with uvicorn, on a socket of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from pixelrnn.errors import ConfigError
from pixelrnn.web.app import create_app
from pixelrnn.web.guard import is_loopback
from pixelrnn.web.requests import BODY

_CONNECTIONS = 256


def serve(names: list[str], host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Show the page until Ctrl-C or SIGTERM; running walks are stopped then.

    Arguments: port, 0 for any that is free; on_ready, called with the address of the page
    Raises:    ConfigError if the address cannot be used, or one of the names is no model
    """
    app = create_app(names, hosts=(host,) if is_loopback(host) else None)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f"The page cannot listen on {host}:{port} ({error.strerror or error}). Choose another port:  --port 0"
        ) from error
    with listening:
        found, used = listening.getsockname()[:2]
        on_ready(f"http://[{found}]:{used}" if ":" in found else f"http://{found}:{used}")
        settings = uvicorn.Config(
            app,
            log_level="warning",
            ws_max_size=BODY,
            timeout_graceful_shutdown=3,
            limit_concurrency=_CONNECTIONS,
            server_header=False,
        )
        uvicorn.Server(settings).run([listening])
