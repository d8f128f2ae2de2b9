"""The routes of the page: a JSON API (described at /openapi.json), a socket for walks, and static files."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Header, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ValidationError

from pixelrnn import __version__
from pixelrnn.codec import Reader
from pixelrnn.errors import ConfigError, PixelRNNError
from pixelrnn.web.guard import Guard
from pixelrnn.web.models import Card, Served, named
from pixelrnn.web.pictures import compressed, decompressed
from pixelrnn.web.requests import BODY, WALK, Complete, Interpolate, Look, LookAt, Sample, problem
from pixelrnn.web.turns import BusyError
from pixelrnn.web.walks import streamed

_PATIENCE = 10.0  # seconds in which a new socket has to say what it wants
_STALLED = 30.0  # seconds after which a reader that takes nothing is left
T = TypeVar("T")

Visitor = Annotated[str, Header(alias="x-visitor", max_length=64, description="who asks, for fair turns")]


class Bits(BaseModel):
    """The bits per dimension of each pixel, (H, W) float32, little-endian, in base64; and their sum and mean."""

    height: int
    width: int
    bits: str
    total: float
    """Of the whole image."""
    per_dimension: float


class Pixel(BaseModel):
    """What a model thinks of one pixel, colour by colour."""

    values: list[int]
    bits: list[float]
    pmf: list[list[float]]
    seen: list[int]
    """The receptive field: flat indices of the pixels that it depends on."""


class Compressed(BaseModel):
    """A compressed picture, in base64, and the bytes that other formats take."""

    data: str
    sizes: dict[str, int]


class Decompressed(BaseModel):
    """The first picture of a compressed file, as PNG in base64."""

    name: str
    images: int
    png: str


def create_app(names: list[str], *, hosts: tuple[str, ...] | None = ()) -> FastAPI:
    """The application for some models.

    Arguments: hosts, see `guard.Guard`
    Raises:    ConfigError or ModelFolderError if one is no model
    """
    served = named(names)
    app = FastAPI(title="pixelrnn", version=__version__, docs_url=None, redoc_url=None)  # pages of another host
    app.add_middleware(Guard, most=BODY, hosts=hosts)

    def of(name: str) -> Served:
        if name not in served:
            raise ConfigError(f"There is no model {name!r} here: {', '.join(served)}. Others are named at the start.")
        return served[name]

    async def in_turn(model: Served, visitor: str, work: Callable[[], T]) -> T:
        async with model.turns.turn(visitor):
            return await asyncio.to_thread(work)

    @app.exception_handler(PixelRNNError)
    async def on_error(request: Request, error: PixelRNNError) -> JSONResponse:
        if isinstance(error, BusyError):
            return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(error.retry_after)})
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def on_wrong_request(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": problem(error.errors())}, 422)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/api/models")
    async def models() -> list[Card]:
        """The models, the first one to begin with."""
        return [each.card for each in served.values()]

    @app.post("/api/look")
    async def look(request: Look, visitor: Visitor = "") -> Bits:
        """The bits of every pixel of a picture."""
        model = of(request.model)
        found = await in_turn(model, visitor, lambda: model.look(request))
        total = float(found.sum()) * model.card.channels
        data = base64.b64encode(found.numpy().astype("<f4").tobytes()).decode()
        height, width = found.shape
        return Bits(height=height, width=width, bits=data, total=total, per_dimension=float(found.mean()))

    @app.post("/api/look-at")
    async def look_at(request: LookAt, visitor: Visitor = "") -> Pixel:
        """What the model thinks of one pixel."""
        model = of(request.model)
        return Pixel(**await in_turn(model, visitor, lambda: model.look_at(request)))

    @app.post("/api/compress", openapi_extra=_PICTURE)
    async def compress(
        model: str, request: Request, name: Annotated[str, Query(max_length=255)] = "", visitor: Visitor = ""
    ) -> Compressed:
        """A picture file, exactly as it is, in a compressed file, which keeps its name."""
        data, used = await request.body(), of(model)
        blob, sizes = await in_turn(used, visitor, lambda: compressed(used.model, model, data, name))
        return Compressed(data=base64.b64encode(blob).decode(), sizes=sizes)

    @app.post("/api/decompress", openapi_extra=_FILE)
    async def decompress(request: Request, visitor: Visitor = "") -> Decompressed:
        """The first picture of a compressed file."""
        data = await request.body()
        used = of(Reader(io.BytesIO(data)).header.model)
        name, images, png = await in_turn(used, visitor, lambda: decompressed(used.model, data))
        return Decompressed(name=name, images=images, png=base64.b64encode(png).decode())

    @app.websocket("/walk")
    async def walk(socket: WebSocket) -> None:
        """One walk, which ends when either side has had enough."""
        await _walk(socket, of)

    static = Path(str(resources.files("pixelrnn.web"))) / "static"
    app.mount("/", StaticFiles(directory=static, html=True))
    app.state.served = served
    return app


async def _walk(socket: WebSocket, of: Callable[[str], Served]) -> None:
    """Read what is wanted, and draw it until it is done or the visitor has left."""
    await socket.accept()
    try:
        request = WALK.validate_json(await asyncio.wait_for(socket.receive_text(), _PATIENCE))
        model = of(request.model)
    except (TimeoutError, WebSocketDisconnect, KeyError):
        return
    except ValidationError as error:
        await _say(socket, error=problem(error.errors()))
        return
    except PixelRNNError as error:
        await _say(socket, error=str(error))
        return
    drawing = asyncio.create_task(_draw(socket, model, request))
    leaving = asyncio.create_task(_left(socket))
    try:
        await asyncio.wait([drawing, leaving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (drawing, leaving):
            task.cancel()
        await asyncio.gather(drawing, leaving, return_exceptions=True)


async def _draw(socket: WebSocket, model: Served, request: Sample | Complete | Interpolate) -> None:
    """Send the pixels as they are drawn, and say how it ended."""
    visitor = socket.query_params.get("visitor", "")[:64]
    try:
        async with model.turns.turn(visitor):
            began = time.perf_counter()
            walk = await asyncio.to_thread(model.walk, request)
            await _say(socket, begin=walk.head)
            async with streamed(lambda: walk.parts) as parts:
                async for part in parts:
                    await asyncio.wait_for(socket.send_bytes(part), _STALLED)
            await _say(socket, seconds=round(time.perf_counter() - began, 3))
    except BusyError as error:
        await _say(socket, error=str(error), retry_after=error.retry_after)
    except PixelRNNError as error:
        await _say(socket, error=str(error))
    except (WebSocketDisconnect, TimeoutError, RuntimeError):
        return  # nobody listens any more


async def _say(socket: WebSocket, **what: Any) -> None:
    await asyncio.wait_for(socket.send_text(json.dumps(what)), _STALLED)
    if "begin" not in what:
        await socket.close()


async def _left(socket: WebSocket) -> None:
    """Wait until the visitor has left; what is said meanwhile is ignored."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


_PICTURE = {"requestBody": {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}
_FILE = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
