"""The one loop over pixels.

`walk` goes through images in generation order (stage by stage, if the network has several), gets the probabilities of
the next pixels from the network, and lets a chooser decide these pixels. The loop is the same for every network, head
and use, and yields what it settles: sampling, completion, progress bars and the rows of `sample_rows` all read from it.

There are three methods, which give the same images: compiled, pixel by pixel (`compiled`); with PyTorch, in spans of
several guessed pixels (`spans`); and the naive one below, the oracle for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixelrnn.canvas import Order, Whole
from pixelrnn.exact import IntegerHead
from pixelrnn.heads import Head
from pixelrnn.networks import Network
from pixelrnn.program import Programs
from pixelrnn.sampling.choosers import Chooser, Span
from pixelrnn.sampling.compiled import CompiledWalk, ExactWalk
from pixelrnn.sampling.pace import Pace
from pixelrnn.sampling.spans import SpanWalk, pmf_of
from pixelrnn.sampling.stage import Settled, StageWalk, Work, check_finite

Method = Literal["cached", "compiled", "naive"]


@torch.inference_mode()
def walk(
    network: Network,
    head: Head,
    images: Tensor,
    chooser: Chooser,
    *,
    dtype: torch.dtype,
    known: Tensor | None = None,
    order: Order | None = None,
    method: Method = "cached",
    pace: Pace | int | None = None,
    programs: Programs | None = None,
    condition_map: Tensor | None = None,
) -> Iterator[Settled]:
    """Choose every pixel of `images` that is not known, in place, in generation order.

    Arguments:
        images   (B, C, H, W) uint8 on the network's device, contiguous
        dtype    of the network's weights
        known    (B, 1, H, W) bool: pixels that keep their value; None for none
        order    the generation order, for a network that takes any; None for the network's own
        method   "cached": every layer caches its past; "compiled": the same, compiled, for choosers that draw; "naive":
                 one full pass per pixel and colour, slow and simple, the oracle for the others
        pace     the width of spans in pixels, or what chooses it; the images do not depend on it
        programs the programs compiled for the network so far
        condition_map  (B, maps, H, W), or (B, maps, 1, 1) if it is the same everywhere
    Yields:      the pixels that became final, known ones included, pass after pass; those of a run are in `images`
                 once all of it is final
    Raises:      ModelError if the network gives parameters that are not finite
    """
    order = network.checked_order(order, (images.shape[2], images.shape[3]))
    known = torch.zeros_like(images[:, :1], dtype=torch.bool) if known is None else known.clone()
    work = Work(head, images, known, chooser, dtype, order, condition_map)
    if method == "naive":
        yield from _naive(network, work)
        return
    settled_before = torch.zeros(images.shape[2:], dtype=torch.bool)
    pace = Pace() if pace is None else pace
    programs = Programs() if programs is None else programs
    for stage in network.stages():
        walked: StageWalk
        if method == "compiled" and isinstance(head, IntegerHead):
            walked = ExactWalk(stage, work, settled_before, programs)
        elif method == "compiled":
            walked = CompiledWalk(stage, work, settled_before, programs)
        else:
            walked = SpanWalk(stage, work, settled_before, pace)
        yield from walked.events()
        for grid in (known, settled_before):
            grid[..., :: stage.step, :: stage.step] = True


def _naive(network: Network, work: Work) -> Iterator[Settled]:
    """The oracle: for every unknown pixel and colour, the whole network on the whole image."""
    head, images, known, chooser, dtype, order, condition_map = work
    batch, channels, height, width = images.shape
    every, groups = np.arange(batch), head.groups
    for where in (order or network.order(height, width)).ranks.flatten().argsort():
        row, column = divmod(int(where), width)
        here = (..., slice(row, row + 1), slice(column, column + 1))
        pixels = images[here].flatten(2).clone()  # (B, C, 1)
        for group in range(0 if known[here].all() else groups):
            params = network(Whole(head.seen(images, dtype), condition_map, order))[here]
            check_finite(params[:, :, 0], network, None, where[None], width)
            colours = range(group * channels // groups, (group + 1) * channels // groups)
            open_ = (~known[here][:, 0]).expand(-1, channels, -1)
            chosen = chooser.choose(
                Span(None, where[None].to(images.device), colours, open_, pixels), pmf_of(head, params)
            )
            for channel in colours:
                pixels[:, channel] = torch.where(open_[:, channel], chosen[:, channel], pixels[:, channel])
            images[here] = pixels[..., None]
        yield Settled(every, where[None], pixels.cpu().numpy(), np.ones((batch, 1), dtype=bool))
