"""What the papers' networks are made of, pixel by pixel and in NumPy: the second opinion of the `test_fidelity` files.

Written from the papers' equations and figures, with whole k x k kernels and the colour table spelled out. Nothing is
shared with the package but the weights. What a layer reads outside the image is zero.

A `mistake` is what an implementation could get wrong: the tests ask for it by name, to show that it would be seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import torch
from close import assert_close
from torch import Tensor, nn

from pixelrnn.canvas import Whole, scale
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.model import PixelModel

Array = np.ndarray
RANDOM = np.random.default_rng(0)

# (of the output, of the input): who may see whom at the pixel itself, section 3.4 of the PixelRNN paper
MAY_SEE = {
    "A": {("G", "R"), ("B", "R"), ("B", "G")},
    "B": {("R", "R"), ("G", "R"), ("G", "G"), ("B", "R"), ("B", "G"), ("B", "B")},
    "everything": set(itertools.product("RGB", "RGB")),
}


def colour(index: int, width: int, colours: str) -> str:
    """Contiguous groups: the first part of the feature maps is red."""
    return colours[len(colours) * index // width]


class Layer:
    """One convolution of the papers: a whole kernel (out, in, k, k) or (out, in, 1, k) and which of its taps are used.

    The taps of rows below and of columns to the right are filled with noise, to show that they do not matter.
    """

    def __init__(self, module: CausalConv2d, kernel: tuple[int, int], kind: str, colours: str, blocks: int = 1) -> None:
        weight = module.weight.detach().numpy()
        self.bias = module.bias.detach().numpy()
        self.weight = RANDOM.normal(size=(*weight.shape[:2], *kernel))
        self.weight[:, :, : weight.shape[2], : weight.shape[3]] = weight
        self.kernel, self.kind, self.colours, self.blocks = kernel, kind, colours, blocks

    def centre(self, kind: str) -> Array:
        """The colour table for all pairs of feature maps, (out, in)."""
        out_width, in_width = self.weight.shape[:2]
        block = out_width // self.blocks  # the tanh half and the sigmoid half are split into colours each
        return np.array(
            [
                [
                    (colour(out % block, block, self.colours), colour(seen, in_width, self.colours)) in MAY_SEE[kind]
                    for seen in range(in_width)
                ]
                for out in range(out_width)
            ]
        )

    def at(self, maps: Array, row: int, column: int) -> Array:
        """The layer at one pixel of the feature maps (C, H, W)."""
        total = self.bias.copy()
        down, right = self.kernel[0] // 2, self.kernel[1] // 2
        for y, x in itertools.product(range(self.kernel[0]), range(self.kernel[1])):
            there = row + y - down, column + x - right
            if not (0 <= there[0] < maps.shape[1] and 0 <= there[1] < maps.shape[2]):
                continue
            used: Array | bool = y < down or (y == down and x < right)  # rows above, or this row to the left
            if self.kind == "rows":  # the vertical stack: all of this row and of the rows above
                used = y <= down
            elif (y, x) == (down, right):
                used = self.centre(self.kind)
            total = total + (self.weight[:, :, y, x] * used) @ maps[:, there[0], there[1]]
        return total

    def __call__(self, maps: Array) -> Array:
        height, width = maps.shape[1:]
        found = np.zeros((len(self.weight), height, width))
        for row, column in itertools.product(range(height), range(width)):
            found[:, row, column] = self.at(maps, row, column)
        return found


def array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def pointwise(modules: Iterable[CausalConv2d], colours: str, mistake: str = "") -> list[Layer]:
    """1 x 1 layers: only the colours are masked."""
    return [Layer(each, (1, 1), "everything" if mistake == "1 x 1 without mask" else "B", colours) for each in modules]


def condition(module: nn.Module, s: Array | None, mistake: str = "") -> Array | float:
    """V * s, the 1 x 1 layer without bias and without mask of a condition s (maps, H, W): (out, H, W)."""
    if s is None or mistake == "no condition":
        return 0.0
    if mistake == "condition of the pixel to the right":
        s = np.roll(s, -1, 2)
    if mistake == "condition of the row above":
        s = np.roll(s, 1, 1)
    return np.einsum("os,src->orc", array(module.conv.weight)[:, :, 0, 0], s)


def residual_blocks(
    net: nn.Module,
    image: Array,
    colours: str,
    first_kernel: int,
    branch: Callable[[int, Array], Array],
    residual: bool = True,
    mistake: str = "",
) -> Array:
    """Table 1 and figure 5 of the PixelRNN paper: the parameters of every pixel, (params, H, W).

    branch: the index of a block and its input (2h, H, W) -> what the block adds to it
    """
    kind = "B" if mistake in ("mask B first", "own pixel seen") else "A"
    x = Layer(net.first, (first_kernel, first_kernel), kind, colours)(image)  # 2h maps
    skipped = np.zeros_like(x)
    skips = pointwise(net.skips, colours)
    for index in range(len(net.blocks)):
        y = branch(index, x)
        x = x + y if residual and mistake != "no residual" else y
        if skips and mistake != "no skip":
            skipped = skipped + skips[index](x)
    x = x + skipped
    for layer in pointwise(net.readout.layers, colours):  # two 1 x 1 layers, then the logits
        x = layer(relu(x))
    return x


def both_ways(
    model: PixelModel, images: Tensor, loop: Callable[..., Array], condition_map: Tensor | None = None
) -> tuple[Array, Array]:
    """The parameters of images (B, params, H, W): by the package, and by a loop over each image in -1..1.

    With a condition, (B, maps, H, W) or (B, maps, 1, 1), the loop is given that of each image as well, (maps, H, W).
    """
    with torch.no_grad():
        found = model.network(Whole(scale(images, model.levels, torch.float64), condition_map)).numpy()
    if condition_map is None:
        return found, np.stack([loop(image) for image in scaled(images, model.levels)])
    every = array(condition_map.expand(-1, -1, *images.shape[2:]))
    return found, np.stack([loop(*each) for each in zip(scaled(images, model.levels), every, strict=True)])


def scaled(images: Tensor, levels: int) -> Array:
    return 2 * images.numpy() / (levels - 1) - 1


def with_random_starts(module: nn.Module) -> list[Recurrence]:
    """The initial states begin as zeros; here they are anything."""
    recurrences = [each for each in module.modules() if isinstance(each, Recurrence)]
    for each in recurrences:
        nn.init.normal_(each.start_h)
        nn.init.normal_(each.start_c)
    return recurrences


def multiply(module: nn.Module, factor: float) -> None:
    """Larger weights, so that no gate is nearly linear."""
    with torch.no_grad():
        for weight in module.parameters():
            weight *= factor


def assert_the_same(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape, f"{found.shape}, not {expected.shape}"
    assert np.abs(expected).max() > 1e-3, "nothing to compare"
    assert_close(found, expected)


def assert_seen(found: Array, expected: Array) -> None:
    """A mistake makes a difference that is no rounding error."""
    assert np.abs(found - expected).max() > 1e-3
