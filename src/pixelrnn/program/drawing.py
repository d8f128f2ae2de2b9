"""Drawing with a program, compiled: rows are prepared, then pixels drawn one by one, or some guesses at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pixelrnn.program.elementary import OPTIONS, place
from pixelrnn.program.kernels import run
from pixelrnn.program.operations import FIELDS
from pixelrnn.program.vectors import apart, get, meet, view

READING = 4  # columns that could be computed in the time that reading the weights takes


@njit(**OPTIONS, inline="always")
def begin_row(state, operands, row, condition, where, image, images, size):
    """Look up where every operand is in this row, and put a row of the condition map where it is read.

    operands   (n, 4): first, rows, size of a row, row offset
    condition  (images, H, numbers in a row), without numbers if there is none; `where` is its operand, `size` that of
               an image's memory
    """
    for index in range(len(operands)):
        first, rows, row_size, down = operands[index]
        state.at[index] = first + (row + down) % rows * row_size
    for i in range(image, image + images):
        for k in range(condition.shape[2]):
            state.memory[state.at[where] + i * size + k] = condition[i, row, k]


@njit(**OPTIONS, inline="always")
def prepare(state, once, segments, begins, row, width, image, images, member, members, meeting):
    """Do what is done once for a row, for the images from `image` on; a team of threads shares its columns.

    once      (2,): the instructions for whole images, done if `begins` is 2
    segments  (n, 3): begin, end, along: those for whole rows; where `along` is not 0, pixel by pixel in that direction
    meeting   (1,): where the `members` of a team wait for each other, before what reads other columns
    """
    first, single = np.int64(0), np.int64(1)
    if begins == 2 and member == 0:
        late = np.int64(1 << 30)
        apart(run, (state, once[0], once[1], late, image, images, first, single))
    if members > 1:
        meet(meeting, members)
    left, right = width * member // members, width * (member + 1) // members
    for index in range(len(segments)):
        begin, end, along = segments[index]
        if along != 0:
            if members > 1:
                meet(meeting, members)
            if member == 0:
                for pixel in range(width):
                    x = pixel if along > 0 else width - 1 - pixel
                    apart(run, (state, begin, end, row, image, images, x, single))
            if members > 1:
                meet(meeting, members)
        elif members == 1:
            apart(run, (state, begin, end, row, image, images, first, width))
        else:
            for one in range(begin, end):
                if get(state.code, one * FIELDS + 13) == 1:
                    meet(meeting, members)
                if right > left:
                    apart(run, (state, one, one + 1, row, image, images, left, right - left))


@njit(**OPTIONS)
def pick(pmf, number, temperature):
    """A level by inverse CDF, as `sampling.choosers.Draw`; changes pmf."""
    levels = len(pmf)
    best = 0
    for k in range(levels):
        if pmf[k] > pmf[best]:
            best = k
    if temperature == 0:
        return best
    if temperature != 1:
        top = np.log(pmf[best])
        for k in range(levels):
            pmf[k] = np.exp((np.log(pmf[k]) - top) / temperature)
    total = 0.0
    for k in range(levels):
        total += pmf[k]
        pmf[k] = total
    bound = number * total
    for k in range(levels):
        if not pmf[k] <= bound:  # in this form, so that what is not a number is as in `Draw`
            return k
    return levels - 1


@njit(**OPTIONS)
def guide(pmf, without, strength):
    """The guided probabilities, as `sampling.choosers.Guide`, in place of the first."""
    top = -np.inf
    for k in range(len(pmf)):
        unconditional = np.log(max(without[k], 1e-300))
        pmf[k] = unconditional + strength * (np.log(max(pmf[k], 1e-300)) - unconditional)
        top = max(top, pmf[k])
    total = 0.0
    for k in range(len(pmf)):
        pmf[k] = np.exp(pmf[k] - top)
        total += pmf[k]
    for k in range(len(pmf)):
        pmf[k] /= total


@njit(**OPTIONS, inline="always")
def finite(memory, at, n):
    """Whether n numbers are finite."""
    for k in range(at, at + n):
        if not np.isfinite(memory[k]):
            return False
    return True


class Drawing(NamedTuple):
    """What is drawn, and how.

    passes    (2, C + 1, 2): the instructions before each colour of a pixel, and after the last; in the second line, for
              a pixel that is known in all images
    checks    (m, 3): operand, n, colour of the parameters that must be finite
    drawn     (C, 3): the operands of the probabilities, of the pixel as the network sees it, and as an integer
    scaled    (levels,): a pixel as the network sees it
    pixels    (images, C, H * W), known (images, H * W), numbers (images / copies, C, H * W)
    copies    2 if images come in pairs, with the condition and without, for guidance
    """

    passes: Any
    checks: Any
    drawn: Any
    scaled: Any
    pixels: Any
    known: Any
    numbers: Any
    copies: Any
    temperature: Any
    strength: Any


@njit(**OPTIONS, inline="always")
def decide(state, drawing, colour, image, x, spot):
    """The level of one colour of a pixel by its probabilities; -1 - copy if that copy's parameters are not finite."""
    checks, copies = drawing.checks, drawing.copies
    for index in range(len(checks)):
        operand, count, of_colour = checks[index]
        if of_colour == colour:
            for copy in range(copies):
                here = place(operand, state.at, state.steps, image + copy, x)
                if not finite(state.memory, here, count):
                    return -1 - copy
    pmf, levels = drawing.drawn[colour, 0], len(drawing.scaled)
    here = place(pmf, state.at, state.steps, image, x)
    chances = view(state.wide, here, levels)
    if copies == 2:
        guide(chances, view(state.wide, here + get(state.steps, 2 * pmf), levels), drawing.strength)
    return pick(chances, drawing.numbers[image // copies, colour, spot], drawing.temperature)


@njit(**OPTIONS, inline="always")
def show(state, drawing, colour, image, x, level):
    """Let the network see a pixel."""
    as_seen, as_integer = drawing.drawn[colour, 1], drawing.drawn[colour, 2]
    state.memory[place(as_seen, state.at, state.steps, image, x)] = drawing.scaled[level]
    state.wide[place(as_integer, state.at, state.steps, image, x)] = level


@njit(**OPTIONS, inline="always")
def draw(state, drawing, row, column, columns, width, image, images):
    """Draw some columns of a row, pixel by pixel and colour by colour, for the images from `image` on.

    Returns -1, or where parameters are not finite: image * H * W + pixel.
    """
    pixels, known, copies = drawing.pixels, drawing.known, drawing.copies
    colours, single = len(drawing.drawn), np.int64(1)
    for x in range(column, column + columns):
        spot = row * width + x
        all_known = True
        for i in range(image, image + images):
            all_known = all_known and known[i, spot]
        for colour in range(colours + 1):
            begin, end = drawing.passes[1 if all_known else 0, colour]
            apart(run, (state, begin, end, row, image, images, x, single))
            if colour == colours:
                break
            for i in range(image, image + images, copies):
                if not known[i, spot]:
                    level = decide(state, drawing, colour, i, x, spot)
                    if level < 0:
                        return (i - 1 - level) * pixels.shape[2] + spot
                    for copy in range(copies):
                        pixels[i + copy, colour, spot] = level
                for copy in range(copies):
                    show(state, drawing, colour, i + copy, x, np.int64(pixels[i + copy, colour, spot]))
    return -1


@njit(**OPTIONS, inline="always")
def draw_ahead(state, drawing, row, column, columns, width, image, images, pace):
    """As `draw`, for images of one colour, one after the other: several pixels at a time, on guesses.

    The first guess is the pixel above, or 0 in the first row. What is drawn is right up to and including the first
    pixel that is not what was guessed, as in `sampling.settle`; all of it is the next guess. So one read of the weights
    serves several pixels.

    pace      (2,): pixels that were settled, and guesses that were wrong, of late
    """
    pixels, known, copies = drawing.pixels, drawing.known, drawing.copies
    end = column + columns
    for i in range(image, image + images, copies):
        for x in range(column, end):
            spot = row * width + x
            for copy in range(i, i + copies):
                if not known[i, spot]:
                    pixels[copy, 0, spot] = pixels[copy, 0, spot - width] if row > 0 else 0
                show(state, drawing, 0, copy, x, np.int64(pixels[copy, 0, spot]))
        first = column
        while first < end:
            given = first
            while given < end and known[i, row * width + given]:
                given += 1
            if given > first:
                begin, after = drawing.passes[1, 0]
                apart(run, (state, begin, after, row, i, copies, first, given - first))
                first = given
                continue
            lanes = lookahead(pace, end - first)
            begin, after = drawing.passes[0, 0]
            apart(run, (state, begin, after, row, i, copies, first, lanes))
            settled = lanes
            for x in range(first, first + lanes):
                spot = row * width + x
                if known[i, spot]:
                    continue
                level = decide(state, drawing, 0, i, x, spot)
                if level < 0:
                    if settled < lanes:  # only a guess
                        break
                    return (i - 1 - level) * pixels.shape[2] + spot
                if level != pixels[i, 0, spot]:
                    settled = min(settled, x - first + 1)
                    for copy in range(i, i + copies):
                        pixels[copy, 0, spot] = level
                        show(state, drawing, 0, copy, x, level)
            pace[0] = 0.98 * pace[0] + settled
            pace[1] = 0.98 * pace[1] + (1 if settled < lanes else 0)
            first += settled
    return -1


@njit(**OPTIONS, inline="always")
def lookahead(pace, left):
    """How many pixels to run on guesses: so that most are settled in a given time."""
    right = 1 - pace[1] / pace[0]
    best, most, settled, chance = 1, 0.0, 0.0, 1.0
    for width in range(1, left + 1):
        settled += chance
        chance *= right
        rate = settled / (READING + width)
        if rate > most:
            best, most = width, rate
    return best
