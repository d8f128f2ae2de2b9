"""When each step is done: what belongs to a row or to a pixel, what is needed at all, what can be done together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pixelrnn.program.steps import Elements, Linear, Map, Phase, Program, Step, parts, phases


def split(program: Program) -> list[Step]:
    """Products in two parts: what can be computed when the row begins, and the rest."""
    steps: list[Step] = []
    for step in program.steps:
        if not isinstance(step, Linear) or step.out.phase < Phase.ROW:
            steps.append(step)
            continue
        if step.along:  # only its own row has to be gone through pixel by pixel
            index, dy, _, _ = parts(step.inputs)
            last = max(int(each) for each in index)
            rest = (dy == 0) & (index == last)
        elif step.out.phase == Phase.PIXEL:
            rest = phases(program.maps, step.inputs) == Phase.PIXEL
        else:
            rest = np.ones(len(step.inputs), dtype=bool)
        early_added = [each for each in step.added if phases(program.maps, each[:1])[0] < step.out.phase]
        if rest.all():
            steps.append(step)
            continue
        channels = np.zeros(step.out.channels, dtype=np.int64)
        before = Map(len(program.maps), step.out.channels, Phase.ROW, channels, step.out.double)
        program.maps.append(before)
        steps.append(
            replace(
                step,
                out=before,
                inputs=step.inputs[~rest],
                weight=step.weight[:, ~rest],
                mask=step.mask[:, ~rest],
                added=early_added,
                along=0,
            )
        )
        added = [before.elements(), *(each for each in step.added if not any(each is some for some in early_added))]
        steps.append(
            replace(
                step,
                inputs=step.inputs[rest],
                weight=step.weight[:, rest],
                mask=step.mask[:, rest],
                bias=None,
                added=added,
            )
        )
    return steps


def needed(steps: list[Step], wanted: list[Elements]) -> list[Step]:
    """The steps that these elements depend on, also through earlier pixels."""
    maps = {int(index) for each in wanted for index in np.unique(parts(each)[0])}
    while True:
        chosen = [step for step in steps if any(each.index in maps for each in step.writes())]
        more = {int(index) for step in chosen for each in step.reads() for index in np.unique(parts(each)[0])}
        if more <= maps:
            return chosen
        maps |= more


def is_read_by_others(source: Map) -> bool:
    """Whether other pixels read it."""
    return source.phase == Phase.PIXEL and max(source.up, source.left, source.right) > 0


def segments(steps: list[Step]) -> Iterator[tuple[int, list[Step]]]:
    """Consecutive steps that are done together, over the row as a whole or pixel by pixel."""
    some: list[Step] = []
    for step in steps:
        if some and getattr(step, "along", 0) != getattr(some[-1], "along", 0):
            yield getattr(some[-1], "along", 0), some
            some = []
        some.append(step)
    if some:
        yield getattr(some[-1], "along", 0), some


def reads_aside(step: Step) -> bool:
    """Whether a step reads other columns than its own."""
    return any(bool((parts(read)[2] != 0).any()) for read in step.reads())


def can_look_ahead(program: Program, at_pixel: list[Step], passes: list[list[tuple[int, int]]]) -> bool:
    """Whether no step reads, to the left, what it or a later step writes; and pixels have one colour."""
    done = {program.image.index, program.pixels.index}
    for step in at_pixel:
        for read in step.reads():
            index, dy, dx, _ = parts(read)
            left = index[(dy == 0) & (dx < 0)]
            if any(program.maps[each].phase == Phase.PIXEL and each not in done for each in np.unique(left).tolist()):
                return False
        done |= {each.index for each in step.writes()}
    return len(program.pmf) == 1 and all(begin == end for begin, end in (line[1] for line in passes))
