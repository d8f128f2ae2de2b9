"""Walks in a thread: stopped when nobody reads any more, held up by a slow reader, errors passed on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from pixelrnn.web.walks import _AHEAD, streamed


def test_who_leaves_stops_an_endless_walk_and_a_slow_reader_holds_it_up() -> None:
    made: list[int] = []

    def endless() -> Iterator[bytes]:
        for number in itertools.count():
            made.append(number)
            yield bytes([number % 256])

    async def story() -> int:
        async with streamed(endless) as items:
            for expected in range(3):
                assert await anext(items) == bytes([expected])
            await asyncio.sleep(0.3)  # the reader does nothing
            return len(made)

    held = asyncio.run(asyncio.wait_for(story(), 20))
    assert 3 <= held <= 3 + _AHEAD + 2
    assert len(made) <= held + _AHEAD + 2


def test_an_error_of_the_walk_is_raised_where_it_is_read() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a"
        raise ValueError("mine")

    async def story() -> None:
        async with streamed(broken) as items:
            assert [each async for each in items] == [b"a"]

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(asyncio.wait_for(story(), 20))
