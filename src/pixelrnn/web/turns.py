"""One at a time, and fair between visitors."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pixelrnn.errors import PixelRNNError


class BusyError(PixelRNNError):
    """Too many requests wait already; `retry_after` says in how many seconds to try again."""

    retry_after = 5


class Turns:
    """Gives out turns, one at a time. Visitors with several requests wait behind each visitor with fewer.

    Arguments: waiting, how many requests may wait in all; of_one, and of one visitor
    """

    def __init__(self, waiting: int = 16, of_one: int = 4) -> None:
        self.most, self.of_one = waiting, of_one
        self.taken = False
        self.queues: dict[str, deque[asyncio.Future[None]]] = {}  # the next visitor first

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(map(len, self.queues.values()))

    @asynccontextmanager
    async def turn(self, visitor: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the end of the block.

        Raises: BusyError if too many requests wait
        """
        if self.taken:
            await self._wait(visitor)
        self.taken = True
        try:
            yield
        finally:
            self._next()

    async def _wait(self, visitor: str) -> None:
        if self.waiting >= self.most or len(self.queues.get(visitor, ())) >= self.of_one:
            raise BusyError("The model is busy, and too many requests wait for it. Try again in some seconds.")
        mine = asyncio.get_running_loop().create_future()
        self.queues.setdefault(visitor, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given the turn at the same moment
                self._next()
            else:
                self._leave(visitor, mine)
            raise

    def _leave(self, visitor: str, mine: asyncio.Future[None]) -> None:
        queue = self.queues[visitor]
        queue.remove(mine)
        if not queue:
            del self.queues[visitor]

    def _next(self) -> None:
        """Hand the turn over: to the visitor who waits longest, who then goes to the end of the line."""
        for visitor in list(self.queues):
            queue = self.queues.pop(visitor)
            following = queue.popleft()
            if queue:
                self.queues[visitor] = queue
            if not following.done():
                following.set_result(None)
                return
        self.taken = False
