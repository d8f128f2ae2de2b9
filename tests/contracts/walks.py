"""The incremental pass over images that are known: what contracts compare the whole pass with."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelrnn.canvas import Incremental, Region, scale
from pixelrnn.model import PixelModel


def walked_params(
    model: PixelModel, images: Tensor, span: int, *, by_colour: bool = False, condition_map: Tensor | None = None
) -> Tensor:
    """The parameters of known images, `span` pixels of a row at a time, stage by stage.

    by_colour does it as sampling does: a pass per colour, with later colours (and pixels) not yet written.
    condition_map is s as the network sees it: (B, maps, H, W) or (B, maps, 1, 1).
    """
    everything = scale(images, model.levels, torch.float64)
    params = torch.full((len(images), model.head.num_params, *images.shape[2:]), torch.nan)
    for stage in model.network.stages():
        pixels = everything[:, :, :: stage.step, :: stage.step]
        condition = None if condition_map is None else condition_map[:, :, :: stage.step, :: stage.step]
        if stage.condition_map is not None:
            condition = stage.condition_map(pixels, condition)
        canvas = Incremental(tuple(pixels.shape), torch.float64, images.device, condition)
        found = torch.zeros(len(images), model.head.num_params, *pixels.shape[2:])
        for row in range(pixels.shape[2]):
            for column in range(0, pixels.shape[3], span):
                here = Region(row, column, min(span, pixels.shape[3] - column))
                place = (..., row, slice(column, column + here.width))
                for channel in range(model.channels):
                    canvas.begin(here)
                    if by_colour:
                        part = slice(channel * model.head.num_params // model.channels, None)
                        found[:, part][place] = canvas.run(stage.network)[:, part, 0]
                    canvas.begin(here)
                    canvas.write(pixels[:, channel : channel + 1][place], channel)
                canvas.begin(here)
                if not by_colour:
                    found[place] = canvas.run(stage.network)[:, :, 0]
        part = params[:, :, :: stage.step, :: stage.step]
        part.copy_(torch.where(part.isnan(), found, part))
    return params
