"""What a server on somebody's machine must refuse: large bodies, other hosts' pages, frames."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Middleware: 413 for a body above the limit, 403 for another host or a page of another origin, safe headers.

    Arguments:
        most   bytes of a body
        hosts  names under which the server may be addressed, besides those of this machine; a page of another name,
               made to point here, is refused. None: any
    """

    def __init__(self, app: ASGIApp, most: int, hosts: tuple[str, ...] | None) -> None:
        self.app, self.most, self.hosts = app, most, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not (self._is_ours(headers.get("host", "")) and _same_origin(headers)):
            await _refuse(scope, receive, send, 403, "This page may be used from its own address only.")
            return
        if not headers.get("content-length", "0").isdecimal() or int(headers.get("content-length", "0")) > self.most:
            await _refuse(scope, receive, send, 413, f"A request may have {self.most:,} bytes at most.")
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                raise TooLargeError
            return message

        begun = False

        async def safe(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                for name, value in HEADERS.items():
                    MutableHeaders(scope=message)[name] = value
            await send(message)

        try:
            await self.app(scope, limited if scope["type"] == "http" else receive, safe)
        except TooLargeError:
            if not begun:
                await _refuse(scope, receive, send, 413, f"A request may have {self.most:,} bytes at most.")

    def _is_ours(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        return self.hosts is None or name in (*_LOOPBACK, *self.hosts)


class TooLargeError(Exception):
    """A body without a length turned out to be too large."""


def _same_origin(headers: Headers) -> bool:
    """Whether a request comes from our own page, or from no page at all."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    await JSONResponse({"detail": why}, status, HEADERS)(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether an address is that of this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
