"""Drawing with a program, compiled: rows are prepared, then pixels drawn one by one, or some guesses at a time."""

from __future__ import annotations

import numpy as np
from numba import njit

from pixelrnn.program.elementary import OPTIONS
from pixelrnn.program.kernels import place, run
from pixelrnn.program.vectors import apart, get, meet, view

READING = 4  # columns that could be computed in the time that reading the weights takes


@njit(**OPTIONS, inline="always")
def locate(operands, row, at):
    """Where every operand is in this row: (first, rows, size of a row, row offset) -> a place."""
    for index in range(len(operands)):
        first, rows, size, down = operands[index]
        at[index] = first + (row + down) % rows * size


@njit(**OPTIONS, inline="always")
def prepare(
    code,
    once,
    segments,
    at,
    steps,
    chunks,
    places,
    memory,
    wide,
    weights,
    begins,
    row,
    width,
    image,
    images,
    member,
    members,
    meeting,
):
    """Do what is done once for a row, for the images from `image` on; a team of threads shares its columns.

    once      (2,): the instructions for whole images, done if `begins` is 2
    segments  (n, 3): begin, end, along: those for whole rows, done if `begins` is 1 or 2; where `along` is not 0, pixel
              by pixel in that direction
    meeting   (1,): where the `members` of a team wait for each other, after each instruction
    """
    first, single = np.int64(0), np.int64(1)
    if begins == 2 and member == 0:
        late = np.int64(1 << 30)
        apart(
            run,
            (
                code,
                once[0],
                once[1],
                late,
                at,
                steps,
                chunks,
                places,
                memory,
                wide,
                weights,
                image,
                images,
                first,
                single,
            ),
        )
    if members > 1:
        meet(meeting, members)
    left, right = width * member // members, width * (member + 1) // members
    for index in range(len(segments)):
        begin, end, along = segments[index]
        if along != 0:
            if member == 0:
                for pixel in range(width):
                    x = pixel if along > 0 else width - 1 - pixel
                    apart(
                        run,
                        (
                            code,
                            begin,
                            end,
                            row,
                            at,
                            steps,
                            chunks,
                            places,
                            memory,
                            wide,
                            weights,
                            image,
                            images,
                            x,
                            single,
                        ),
                    )
            if members > 1:
                meet(meeting, members)
        elif members == 1:
            apart(
                run,
                (code, begin, end, row, at, steps, chunks, places, memory, wide, weights, image, images, first, width),
            )
        else:
            for one in range(begin, end):
                if right > left:
                    columns = right - left
                    apart(
                        run,
                        (
                            code,
                            one,
                            one + 1,
                            row,
                            at,
                            steps,
                            chunks,
                            places,
                            memory,
                            wide,
                            weights,
                            image,
                            images,
                            left,
                            columns,
                        ),
                    )
                meet(meeting, members)


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


@njit(**OPTIONS, inline="always")
def decide(checks, colour, pmf, levels, at, steps, memory, wide, number, image, x, copies, temperature, strength):
    """The level of one colour of a pixel by its probabilities; -1 - copy if that copy's parameters are not finite."""
    for index in range(len(checks)):
        operand, count, of_colour = checks[index]
        if of_colour == colour:
            for copy in range(copies):
                if not finite(memory, place(operand, at, steps, image + copy, x), count):
                    return -1 - copy
    here = place(pmf, at, steps, image, x)
    chances = view(wide, here, levels)
    if copies == 2:
        guide(chances, view(wide, here + get(steps, 2 * pmf), levels), strength)
    return pick(chances, number, temperature)


@njit(**OPTIONS, inline="always")
def draw(
    code,
    passes,
    checks,
    drawn,
    at,
    steps,
    chunks,
    places,
    memory,
    wide,
    weights,
    scaled,
    pixels,
    known,
    numbers,
    row,
    column,
    columns,
    width,
    image,
    images,
    copies,
    temperature,
    strength,
):
    """Draw some columns of a row, pixel by pixel and colour by colour, for the images from `image` on.

    Of `copies` 2, images come in pairs, with the condition and without, for guidance. Returns -1, or where parameters
    are not finite: image * columns + column.

    passes    (2, C + 1, 2): the instructions before each colour of a pixel, and after the last; in the second line, for
              a pixel that is known in all images
    checks    (m, 3): operand, n, colour of the parameters that must be finite
    drawn     (C, 3): the operands of the probabilities, of the pixel as the network sees it, and as an integer
    pixels    (images, C, H * W), known (images, H * W), numbers (images / copies, C, H * W)
    """
    levels, single = len(scaled), np.int64(1)
    for x in range(column, column + columns):
        spot = row * width + x
        all_known = True
        for i in range(image, image + images):
            all_known = all_known and known[i, spot]
        for colour in range(len(drawn) + 1):
            begin, end = passes[1 if all_known else 0, colour]
            apart(
                run, (code, begin, end, row, at, steps, chunks, places, memory, wide, weights, image, images, x, single)
            )
            if colour == len(drawn):
                break
            pmf, as_seen, as_integer = drawn[colour]
            for i in range(image, image + images, copies):
                if not known[i, spot]:
                    number = numbers[i // copies, colour, spot]
                    level = decide(
                        checks,
                        colour,
                        pmf,
                        levels,
                        at,
                        steps,
                        memory,
                        wide,
                        number,
                        i,
                        x,
                        copies,
                        temperature,
                        strength,
                    )
                    if level < 0:
                        return (i - 1 - level) * columns + x - column
                    for copy in range(copies):
                        pixels[i + copy, colour, spot] = level
                for copy in range(copies):
                    level = np.int64(pixels[i + copy, colour, spot])
                    memory[place(as_seen, at, steps, i + copy, x)] = scaled[level]
                    wide[place(as_integer, at, steps, i + copy, x)] = level
    return -1


@njit(**OPTIONS, inline="always")
def draw_ahead(
    code,
    passes,
    checks,
    drawn,
    at,
    steps,
    chunks,
    places,
    memory,
    wide,
    weights,
    scaled,
    pixels,
    known,
    numbers,
    row,
    column,
    columns,
    width,
    image,
    images,
    copies,
    temperature,
    strength,
    pace,
):
    """As `draw`, for images of one colour, one after the other: several pixels at a time, on guesses.

    What is drawn is right up to and including the first pixel that is not what was guessed, as in
    `sampling.settle`; all of it is the next guess. So one read of the weights serves several pixels.

    pace      (2,): pixels that were settled, and guesses that were wrong, of late
    """
    levels, end = len(scaled), column + columns
    pmf, as_seen, as_integer = drawn[0]
    for i in range(image, image + images, copies):
        for x in range(column, end):  # the first guess is the pixel above
            spot = row * width + x
            for copy in range(i, i + copies):
                if not known[i, spot]:
                    pixels[copy, 0, spot] = pixels[copy, 0, spot - width] if row > 0 else 0
                level = np.int64(pixels[copy, 0, spot])
                memory[place(as_seen, at, steps, copy, x)] = scaled[level]
                wide[place(as_integer, at, steps, copy, x)] = level
        first = column
        while first < end:
            given = first
            while given < end and known[i, row * width + given]:
                given += 1
            if given > first:
                begin, after = passes[1, 0]
                lanes = given - first
                apart(
                    run,
                    (
                        code,
                        begin,
                        after,
                        row,
                        at,
                        steps,
                        chunks,
                        places,
                        memory,
                        wide,
                        weights,
                        i,
                        copies,
                        first,
                        lanes,
                    ),
                )
                first = given
                continue
            lanes = lookahead(pace, end - first)
            begin, after = passes[0, 0]
            apart(
                run,
                (code, begin, after, row, at, steps, chunks, places, memory, wide, weights, i, copies, first, lanes),
            )
            settled = lanes
            for x in range(first, first + lanes):
                spot = row * width + x
                if known[i, spot]:
                    continue
                number = numbers[i // copies, 0, spot]
                level = decide(
                    checks, 0, pmf, levels, at, steps, memory, wide, number, i, x, copies, temperature, strength
                )
                if level < 0:
                    if settled < lanes:  # only a guess
                        break
                    return (i - 1 - level) * columns + x - column
                if level != pixels[i, 0, spot]:
                    settled = min(settled, x - first + 1)
                    for copy in range(i, i + copies):
                        pixels[copy, 0, spot] = level
                        memory[place(as_seen, at, steps, copy, x)] = scaled[level]
                        wide[place(as_integer, at, steps, copy, x)] = level
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
