"""What chooses the pixels of a walk, given their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


class Place(NamedTuple):
    """Where the pixels that are to be chosen are: images of the batch (None: all of them), a row, some columns."""

    images: Tensor | None
    row: int
    columns: slice

    def of(self, x: Tensor, channel: int) -> Tensor:
        """What stands there in x (B, C, H, W): (images, columns)."""
        line = x[:, channel, self.row, self.columns]
        return line if self.images is None else line[self.images]


class Chooser(Protocol):
    """What decides the pixels of a walk."""

    known_everywhere: Tensor  # (H, W) bool: the pixels that are already right in every image of the batch

    def guess(self, place: Place, channel: int, otherwise: Tensor) -> Tensor:
        """What the pixels may turn out to be, any level: otherwise (B, w) -> (B, w)."""

    def choose(self, pmf: Tensor, place: Place, channel: int) -> Tensor:
        """The levels of one colour of some pixels: pmf (B, w, levels) float64 -> (B, w)."""


def uniforms(seed: int, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """The random numbers of some images: (len(indices), C, H, W) float64 in [0, 1).

    Those of an image depend on the seed and on its own index, and on nothing else: the same image comes out whatever
    the batch, the device or the algorithm.
    """
    streams = (np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index]))) for index in indices)
    return torch.from_numpy(np.stack([stream.random(shape) for stream in streams]))


class Draw:
    """Draws every pixel by inverse CDF from fixed uniform numbers (B, C, H, W).

    `temperature` T draws from p^(1/T), normalised: below 1 safer images, 0 always the most probable level.
    """

    def __init__(self, numbers: Tensor, temperature: float = 1.0) -> None:
        self.numbers, self.temperature = numbers, temperature
        self.known_everywhere = torch.zeros(numbers.shape[2:], dtype=torch.bool)

    def guess(self, place: Place, channel: int, otherwise: Tensor) -> Tensor:
        return otherwise

    def choose(self, pmf: Tensor, place: Place, channel: int) -> Tensor:
        """The first level whose cumulated probability exceeds the uniform number of that place."""
        if self.temperature == 0:
            return pmf.argmax(-1)
        if self.temperature != 1:
            logits = pmf.log()
            pmf = ((logits - logits.amax(-1, keepdim=True)) / self.temperature).softmax(-1)
        number = place.of(self.numbers, channel)[..., None]
        if pmf.shape[-1] == 2:
            return (pmf[..., :1] <= number * pmf.sum(-1, keepdim=True))[..., 0]
        cumulated = pmf.cumsum(-1)
        # Times the sum, which rounding may leave below one: a level of probability zero is never drawn.
        return (cumulated <= number * cumulated[..., -1:]).sum(-1)


class Keep:
    """Keeps the known pixels of `images` and draws the others."""

    def __init__(self, images: Tensor, known: Tensor, draw: Draw) -> None:
        self.images, self.known, self.draw = images, known, draw  # known: (B, 1, H, W) bool
        self.known_everywhere = known.all(0)[0].cpu()

    def guess(self, place: Place, channel: int, otherwise: Tensor) -> Tensor:
        """What is known, and `otherwise` elsewhere."""
        return torch.where(place.of(self.known, 0), place.of(self.images, channel), otherwise)

    def choose(self, pmf: Tensor, place: Place, channel: int) -> Tensor:
        """The known level where there is one, else what `Draw` draws."""
        drawn = self.draw.choose(pmf, place, channel).to(self.images.dtype)
        return torch.where(place.of(self.known, 0), place.of(self.images, channel), drawn)


class Guide:
    """Lets `chooser` choose from what is more, or less, probable with the condition than without it.

    The walk's images come twice, the first half with the condition and the second without; both halves get the same
    pixels. Of strength g, probabilities are in proportion to p(without) (p(with) / p(without))^g: 1 is p(with), 0 is
    p(without), above 1 the condition is exaggerated.

    Source: Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv 2207.12598, here for a discrete pixel
    """

    def __init__(self, chooser: Chooser, strength: float) -> None:
        self.chooser, self.strength = chooser, strength
        self.known_everywhere = chooser.known_everywhere

    def guess(self, place: Place, channel: int, otherwise: Tensor) -> Tensor:
        return self.chooser.guess(_first_half(place), channel, otherwise.chunk(2)[0]).repeat(2, 1)

    def choose(self, pmf: Tensor, place: Place, channel: int) -> Tensor:
        """The levels of one colour of some pixels, those of the first half twice: pmf (2 B, w, levels) -> (2 B, w)."""
        conditional, unconditional = pmf.clamp_min(_SMALLEST).log().chunk(2)
        guided = (unconditional + self.strength * (conditional - unconditional)).softmax(-1)
        return self.chooser.choose(guided, _first_half(place), channel).repeat(2, 1)


def _first_half(place: Place) -> Place:
    """Of images that come twice: their halves stand at the same place always, so they are at work together."""
    return place if place.images is None else place._replace(images=place.images.chunk(2)[0])


_SMALLEST = 1e-300  # of a probability, before its logarithm
