"""Turns: one at a time, fair between visitors, bounded, and none is lost when somebody leaves."""

from __future__ import annotations

import asyncio

import pytest

from pixelrnn.web.turns import BusyError, Turns


async def _visit(turns: Turns, name: str, log: list[str], go: asyncio.Event) -> None:
    async with turns.turn(name.rstrip("0123456789")):
        log.append(name)
        assert turns.taken
        await go.wait()


def test_visitors_take_turns_however_much_each_of_them_wants() -> None:
    async def story() -> list[str]:
        turns, log, go = Turns(), [], asyncio.Event()
        visits = []
        for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
            visits.append(asyncio.create_task(_visit(turns, name, log, go)))
            await asyncio.sleep(0)
        assert (log, turns.waiting) == (["a1"], 5)
        go.set()
        await asyncio.gather(*visits)
        assert not turns.taken
        return log

    assert asyncio.run(story()) == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_too_many_are_refused() -> None:
    async def story() -> None:
        turns, log, go = Turns(waiting=3, of_one=2), [], asyncio.Event()
        visits = [asyncio.create_task(_visit(turns, name, log, go)) for name in ("a1", "a2", "a3")]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="Try again"):
            await _visit(turns, "a4", log, go)  # two of one visitor wait
        visits.append(asyncio.create_task(_visit(turns, "b1", log, go)))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await _visit(turns, "c1", log, go)  # three wait in all
        go.set()
        await asyncio.gather(*visits)
        assert sorted(log) == ["a1", "a2", "a3", "b1"]

    asyncio.run(story())


@pytest.mark.parametrize("given", [False, True])
def test_who_leaves_gives_the_turn_back(given: bool) -> None:
    async def story() -> None:
        turns, log, go = Turns(), [], asyncio.Event()
        first, leaving, last = (asyncio.create_task(_visit(turns, name, log, go)) for name in ("a", "b", "c"))
        await asyncio.sleep(0)
        if given:  # b is given the turn and leaves before it runs
            go.set()
            await first
        leaving.cancel()
        go.set()
        await asyncio.gather(first, leaving, last, return_exceptions=True)
        assert log[0] == "a"
        assert log[-1] == "c"
        assert not turns.taken
        assert not turns.queues

    asyncio.run(story())


def test_an_error_gives_the_turn_back() -> None:
    async def story() -> None:
        turns = Turns()
        with pytest.raises(ValueError, match="mine"):
            async with turns.turn("a"):
                raise ValueError("mine")
        async with turns.turn("b"):
            pass

    asyncio.run(story())
