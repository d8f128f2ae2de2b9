"""Receptive fields measured by gradients, a proof of causality, and a picture of both.

A zero gradient means that there is no dependency, or that it vanished by chance (a dead ReLU). So dependencies are
measured on a copy of the network in float64 whose weights are all positive: no unit is dead and nothing cancels, so a
gradient is zero only because of a mask or the size of a kernel.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelrnn.canvas import Order, Whole
from pixelrnn.checks import checked_images
from pixelrnn.data import save_picture
from pixelrnn.errors import CausalityError, ImageError
from pixelrnn.exact import without_rounding
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.model import PixelModel

_COPIES = 98  # images per backward pass


@dataclass(frozen=True)
class CausalityReport:
    """The number of checks, none of which found a leak."""

    height: int
    width: int
    pairs: int  # zero gradients: of a pixel's parameters for one colour with respect to a value that is not before it
    replacements: int  # pixels and colours whose parameters stayed the same, bit for bit, for another future
    orders: int = 1


def transparent(model: PixelModel) -> nn.Module:
    """A copy of the network in float64 with positive weights, so that no dependency has a zero gradient."""
    network = copy.deepcopy(model.network).cpu().double().eval()
    without_rounding(network)  # of an exact model: rounded numbers have no gradient
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            fan_in = max(1, weight[0].numel()) if weight.ndim > 1 else 10
            weight.copy_(torch.rand(weight.shape, generator=generator, dtype=torch.float64).add(0.5) / fan_in)
        for module in network.modules():
            if isinstance(module, Recurrence):  # lower the forget gates: large cell states would saturate the tanh
                width = module.width
                for convolution in module.convolutions:
                    if convolution.bias is not None:
                        convolution.bias[width : (1 + len(module.carried)) * width] -= 6
    return network


def gradients(
    network: nn.Module, pixels: list[tuple[int, int]], image: Tensor, part: slice, order: Order | None = None
) -> Tensor:
    """The gradient with respect to the image of the sum of the parameters at each of `pixels`.

    Arguments: image (C, H, W) float64; part: the slice of the parameters to sum
    Returns:   (len(pixels), C, H, W)
    """
    found = []
    for first in range(0, len(pixels), _COPIES):
        some = pixels[first : first + _COPIES]
        images = image.expand(len(some), *image.shape).clone().requires_grad_()
        params = network(Whole(images, order=order))[:, part]
        rows, columns = (torch.tensor(each) for each in zip(*some, strict=True))
        chosen = params[torch.arange(len(some)), :, rows, columns]
        found.append(torch.autograd.grad(chosen.sum(), images)[0])
    return torch.cat(found)


def seen_by(model: PixelModel, row: int, column: int, size: tuple[int, int], order: Order | None = None) -> Tensor:
    """The receptive field of (row, column), measured by gradients: (H, W) bool, the pixel itself left out.

    Raises: ImageError if there is no such pixel

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn", size=(5, 5), levels=2, layers=1, width=4, first_kernel=3)
    >>> seen_by(model, 3, 1, (5, 5)).int()  # not the blind spot of PixelCNN, on the right of the rows above
    tensor([[0, 0, 0, 0, 0],
            [1, 1, 1, 1, 0],
            [1, 1, 1, 0, 0],
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ImageError(f"There is no pixel ({row}, {column}) in {size[0]} x {size[1]}.")
    return seen_pairs(model, size, [(row, column)], order)[0]


@torch.no_grad()
def pmf_at(model: PixelModel, image: Tensor, row: int, column: int, **condition: Any) -> Tensor:
    """The probability of every level of each colour of one pixel, given all before it: (C, levels) float64.

    Arguments: image (C, H, W) levels, whose earlier pixels are what is given; condition, label, vector or condition_map
    Raises:    ImageError or ConditionError if the image or the condition does not fit

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn", size=(5, 5), levels=4, layers=1, width=4)
    >>> pmf_at(model, torch.zeros(1, 5, 5, dtype=torch.uint8), 2, 3).shape
    torch.Size([1, 4])
    """
    pixels = model.in_order(checked_images(image[None], model.channels, model.levels, model.device))
    size = (pixels.shape[2], pixels.shape[3])
    s = model.embed_condition(1, size, **condition)
    params = model.network(Whole(model.head.seen(pixels, model.dtype), s, model.network.checked_order(None, size)))
    params, here = (each[..., row : row + 1, column : column + 1] for each in (params, pixels))
    pmf = torch.cat([model.head.pmf(params, here, channel).flatten(1) for channel in range(model.channels)])
    return model.in_order(pmf[None], back=True)[0]


def seen_pairs(
    model: PixelModel,
    size: tuple[int, int],
    pixels: list[tuple[int, int]] | None = None,
    order: Order | None = None,
) -> Tensor:
    """The measured receptive field of each of `pixels` (None: all of them in raster order): (P, H, W) bool."""
    height, width = size
    pixels = pixels or [(row, column) for row in range(height) for column in range(width)]
    image = torch.rand(model.channels, height, width, dtype=torch.float64)
    found = gradients(transparent(model), pixels, image, slice(None), model.network.checked_order(order, size))
    seen = (found != 0).any(1)
    for index, (row, column) in enumerate(pixels):
        seen[index, row, column] = False  # its own earlier colours do not count
    return seen


def prove_causal(
    model: PixelModel, size: tuple[int, int] = (9, 7), order: Order | str | None = None
) -> CausalityReport:
    """Check that no pixel depends on itself or a later one (nor a colour on later ones), in float64, in two ways.

    1. With positive weights: the gradient of a pixel's parameters with respect to itself and every later pixel is zero.
    2. With the model's own weights: replacing all later values does not change a single bit of a pixel's parameters.

    "Later" is meant in the generation order of the network.

    Raises: CausalityError, which names the first pixel that leaks and what it depends on

    >>> import pixelrnn
    >>> model = pixelrnn.build("gated-pixelcnn", size=(5, 5), levels=2, layers=2, width=4)
    >>> report = prove_causal(model, size=(4, 3))
    >>> report.pairs  # 12 pixels, each paired with itself and every later one: 12 + 11 + ... + 1
    78
    """
    height, width = size
    order = model.network.checked_order(order, size)
    pixels = [(row, column) for row in range(height) for column in range(width)]
    network = transparent(model)
    image = torch.rand(model.channels, height, width, dtype=torch.float64)
    groups = model.head.groups
    per_part = model.head.num_params // groups
    pairs = 0
    for colour in range(groups):
        found = gradients(network, pixels, image, slice(colour * per_part, (colour + 1) * per_part), order)
        for (row, column), gradient in zip(pixels, found, strict=True):
            hidden = _hidden(model, row, column, colour, size, order)
            pairs += int(hidden.sum())
            leak = (hidden & (gradient != 0)).nonzero()
            if len(leak):
                raise _leak(model, (row, column, colour), leak[0].tolist(), "the gradient is not zero")
    return CausalityReport(height, width, pairs, _replace_the_future(model, pixels, size, order))


def _hidden(
    model: PixelModel, row: int, column: int, colour: int, size: tuple[int, int], order: Order | None
) -> Tensor:
    """Everything that a pixel's parameters for one colour must not depend on: (C, H, W) bool."""
    ranks = (order or model.network.order(*size)).ranks[None]
    here = ranks[0, row, column]
    not_before = torch.arange(model.channels)[:, None, None] >= colour
    return (ranks > here) | ((ranks == here) & not_before)


@torch.no_grad()
def _replace_the_future(
    model: PixelModel, pixels: list[tuple[int, int]], size: tuple[int, int], order: Order | None
) -> int:
    network = copy.deepcopy(model.network).cpu().double().eval()
    generator = torch.Generator().manual_seed(1)
    shape = (model.channels, *size)
    image, other = (torch.randint(0, model.levels, shape, generator=generator) for _ in range(2))
    other = torch.where(other == image, (other + 1) % model.levels, other)
    groups = model.head.groups
    for colour in range(groups):
        hidden = torch.stack([_hidden(model, row, column, colour, size, order) for row, column in pixels])
        seen, hidden_seen = image.expand(len(pixels), *shape), torch.where(hidden, other, image)
        plain, changed = (
            network(Whole(model.head.seen(each, torch.float64), order=order)) for each in (seen, hidden_seen)
        )
        for index, (row, column) in enumerate(pixels):
            parts = [each[index, :, row, column].chunk(groups)[colour] for each in (changed, plain)]
            if not torch.equal(*parts):
                where = hidden[index].nonzero()[0].tolist()
                raise _leak(model, (row, column, colour), where, "the parameters change with it or what follows")
    return len(pixels) * groups


def _leak(model: PixelModel, pixel: tuple[int, int, int], leak: list[int], how: str) -> CausalityError:
    channel, row, column = leak
    return CausalityError(
        f"{model.config['network']} is not causal: the parameters of pixel (row {pixel[0]}, column {pixel[1]}, colour "
        f"{pixel[2]}) depend on (row {row}, column {column}, colour {channel}), which is not before it: {how}."
    )


def draw_fields(
    models: list[PixelModel],
    path: str | Path,
    size: tuple[int, int] | None = None,
    pixel: tuple[int, int] | None = None,
    orders: Sequence[str | None] | None = None,
) -> list[Tensor]:
    """Draw the receptive field of one pixel in each model side by side, with its blind spot and its future.

    Arguments: size (H, W) of the images, None for the training size; pixel (row, column), None for the middle;
               orders, the name of a generation order for each, None for the network's own
    Returns:   the receptive field in each model, (H, W) bool
    Raises:    DataError if the picture cannot be written
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from PIL import Image

    columns = min(4, len(models))
    rows = -(-len(models) // columns)
    height, width = size or models[0].size
    figure = Figure(
        figsize=(3.4 * columns + 0.4, (3.5 * height / width + 0.4) * rows + 0.6), dpi=110, layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    colours = ["#d1495b", "#2e4057", "#edae49", "#e8e8e8"]
    seen_by_models = []
    for model, axes, order in zip(models, panels, orders or [None] * len(models), strict=False):
        height, width = size or model.size
        row, column = pixel or (height // 2, width // 2)
        along = Order.named(order, height, width) if order else model.network.order(height, width)
        seen = seen_by(model, row, column, (height, width), along)
        seen_by_models.append(seen)
        ranks = along.ranks
        kind = torch.where(ranks > ranks[row, column], 3, torch.where(seen, 1, 2))
        kind[row, column] = 0
        edges = [np.arange(count + 1) - 0.5 for count in (width, height)]  # so that ticks are at the pixels' centres
        axes.pcolormesh(
            *edges, kind.numpy(), cmap=ListedColormap(colours), vmin=-0.5, vmax=3.5, edgecolors="white", linewidth=0.4
        )
        title = f"{model.config['network']}: {int(seen.sum())} seen, {int((kind == 2).sum())} not"
        axes.set(aspect="equal", xlabel="column", ylabel="row", title=title)
        axes.invert_yaxis()
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    names = ["the pixel", "seen", "past, not seen", "future"]
    patches = [Patch(color=colour, label=name) for colour, name in zip(colours, names, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=2 if columns == 1 else 4, frameon=False)
    drawn: Any = FigureCanvasAgg(figure)
    drawn.draw()
    save_picture(Image.fromarray(np.asarray(drawn.buffer_rgba())[..., :3].copy()), path)
    return seen_by_models
