"""Choosers: what decides the pixels of a walk, given their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

Pmf = Callable[[Tensor, int], Tensor]
"""The probabilities of one colour, given the earlier colours of the same pixels: (B, C, w), channel -> (B, w, levels),
float64. If the network itself masks colours, the earlier colours are those of the guess."""


class Span(NamedTuple):
    """The pixels to choose at once, in some images of the batch."""

    images: Tensor | None  # indices into the batch, sorted; None: all of it
    where: Tensor  # (w,) flat pixel indices, row * W + column, in generation order
    channels: range  # the colours to choose, in order
    open: Tensor  # (B, C, w) bool: neither settled nor known; choices elsewhere are discarded
    guess: Tensor  # (B, C, w): what the network was run on

    def of(self, x: Tensor) -> Tensor:
        """The values of x (batch, C, H * W) at these pixels: (B, C, w)."""
        pixels = x.index_select(2, self.where)
        return pixels if self.images is None else pixels.index_select(0, self.images)


class Chooser(Protocol):
    """What decides the pixels of a walk.

    A stateful chooser, such as a decoder that reads a stream, must go through the open positions of an image in
    generation order (pixel by pixel, and within a pixel colour by colour) and stop after the first one where its choice
    differs from the guess: everything after it is conditioned on a wrong guess, is discarded and will be requested
    again. So every position of every image is decided exactly once, in order, whatever the spans. If the network does
    not see the earlier colours of the pixel itself (`Head.groups` is 1), all colours of a pixel are one position. A
    stateless chooser may decide all positions.
    """

    def choose(self, span: Span, pmf: Pmf) -> Tensor:
        """The levels of all pixels of the span: (B, C, w); arbitrary where they are not open."""


def uniforms(seed: int, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """The random numbers of some images: (len(indices), C, H, W) float64 in [0, 1).

    Those of an image depend only on the seed and its own index: the result is the same image whatever the batch, the
    device or the algorithm.

    >>> torch.equal(uniforms(0, [7], (1, 2, 2))[0], uniforms(0, [3, 7], (1, 2, 2))[1])
    True
    """
    streams = (np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index]))) for index in indices)
    return torch.from_numpy(np.stack([stream.random(shape) for stream in streams]))


class Draw:
    """Draws every pixel by inverse transform sampling from fixed uniform random numbers (B, C, H, W).

    `temperature` T draws from p^(1/T), normalised: below 1, more probable images; 0: always the most probable level.
    """

    def __init__(self, numbers: Tensor, temperature: float = 1.0) -> None:
        self.numbers, self.temperature = numbers.flatten(2), temperature

    def choose(self, span: Span, pmf: Pmf) -> Tensor:
        """A draw for every pixel of the span, colour by colour."""
        pixels, numbers = span.guess.clone(), span.of(self.numbers)
        for channel in span.channels:
            pixels[:, channel] = self.draw(pmf(pixels, channel), numbers[:, channel])
        return pixels

    def draw(self, pmf: Tensor, numbers: Tensor) -> Tensor:
        """The first level whose cumulative probability exceeds the number: (B, w, levels), (B, w) -> (B, w)."""
        if self.temperature == 0:
            return pmf.argmax(-1)
        if self.temperature != 1:
            logits = pmf.log()
            pmf = ((logits - logits.amax(-1, keepdim=True)) / self.temperature).softmax(-1)
        number = numbers[..., None]
        if pmf.shape[-1] == 2:
            return (pmf[..., :1] <= number * pmf.sum(-1, keepdim=True))[..., 0]
        cumulated = pmf.cumsum(-1)
        # Scaled by the sum, which rounding may leave below one: so a level of probability zero is never drawn.
        return (cumulated <= number * cumulated[..., -1:]).sum(-1)


class Guide:
    """Classifier-free guidance: lets `chooser` choose from probabilities that exaggerate the condition, or weaken it.

    The batch of the walk holds every image twice, the first half with the condition and the second without; both halves
    get the same pixels. With strength g, probabilities are proportional to p(without) (p(with) / p(without))^g: 1 gives
    p(with), 0 gives p(without), and above 1 the condition is exaggerated.

    Source: Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv 2207.12598, here for discrete pixels
    """

    def __init__(self, chooser: Chooser, strength: float) -> None:
        self.chooser, self.strength = chooser, strength

    def choose(self, span: Span, pmf: Pmf) -> Tensor:
        """What `chooser` chooses from the guided probabilities, for both copies of every image."""
        # The two copies of an image are always at the same position, so both are active or neither is.
        images = None if span.images is None else span.images.chunk(2)[0]
        half = span._replace(images=images, open=span.open.chunk(2)[0], guess=span.guess.chunk(2)[0])

        def guided(pixels: Tensor, channel: int) -> Tensor:
            both = pmf(pixels.repeat(2, 1, 1), channel)
            conditional, unconditional = both.clamp_min(_SMALLEST).log().chunk(2)
            return (unconditional + self.strength * (conditional - unconditional)).softmax(-1)

        return self.chooser.choose(half, guided).repeat(2, 1, 1)


_SMALLEST = 1e-300  # lower bound on a probability before taking its logarithm
