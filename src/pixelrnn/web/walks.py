"""A walk over images in a thread, whose pixels are sent to a visitor as they become final."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

import numpy as np

from pixelrnn.sampling.stage import Settled

_TOGETHER = 0.03  # seconds: pixels that become final within them are sent together
_AHEAD = 4  # messages that are ready but not sent: a slow reader holds the walk up, and memory does not grow


def messages(events: Iterable[Settled], width: int) -> Iterator[bytes]:
    """Final pixels as bytes: their number n (uint32), images, rows and columns (n uint16 each), values (n, C) uint8.

    Numbers are little-endian; pixels are in the order in which they became final.
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    began = time.monotonic()
    for event in events:
        image, place = np.nonzero(event.final)
        parts.append((event.images[image], event.where.numpy()[place], event.values[image, :, place]))
        if time.monotonic() - began > _TOGETHER:
            yield _packed(parts, width)
            parts, began = [], time.monotonic()
    if parts:
        yield _packed(parts, width)


def _packed(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], width: int) -> bytes:
    images, where, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    numbers = np.concatenate([images, where // width, where % width]).astype("<u2")
    return np.uint32(len(images)).astype("<u4").tobytes() + numbers.tobytes() + values.astype(np.uint8).tobytes()


@asynccontextmanager
async def streamed(make: Callable[[], Iterator[bytes]]) -> AsyncIterator[AsyncIterator[bytes]]:
    """What an iterator yields in a thread of its own. At the end of the block it is stopped at its next item, and the
    thread has ended.

    Raises: what the iterator raises, where it is read
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        asyncio.run_coroutine_threadsafe(ready.put(item), loop).result()

    def work() -> None:
        try:
            for item in make():
                if stop.is_set():
                    break
                put(item)
            put(None)
        except BaseException as error:  # it is raised where it is read
            put(error)

    async def items() -> AsyncIterator[bytes]:
        while (item := await ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = asyncio.create_task(asyncio.to_thread(work))
    try:
        yield items()
    finally:
        stop.set()
        while not thread.done():  # what it still puts is thrown away
            while not ready.empty():
                ready.get_nowait()
            await asyncio.wait([thread], timeout=0.02)
