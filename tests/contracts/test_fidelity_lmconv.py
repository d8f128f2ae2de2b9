"""Contract 0 for locally masked convolutions: pixel by pixel, neighbour by neighbour, in any order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import make
from close import assert_close
from loops import Array, array, assert_seen, assert_the_same, condition
from loops_shifted import concat_elu, elu, readout
from torch import nn

import pixelrnn
from pixelrnn.canvas import Order, Whole, scale
from pixelrnn.canvas.locally_masked import locally_masked
from pixelrnn.model import PixelModel


def lmconv(
    model: PixelModel, image: Array, ranks: Array | None = None, s: Array | None = None, mistake: str = ""
) -> Array:
    """From an image (C, H, W) in -1..1 and when each pixel comes: the parameters of every pixel."""
    net, (height, width) = model.network, image.shape[1:]
    if ranks is None or mistake == "raster order":
        ranks = np.arange(height * width).reshape(height, width)

    def convolved(conv: nn.Conv2d, x: Array, step: int = 1, own: bool = True) -> Array:
        weight, out = array(conv.weight), np.zeros((conv.out_channels, height, width))
        for r, c in np.ndindex(height, width):
            out[:, r, c] = array(conv.bias)
            for i, j in np.ndindex(*weight.shape[2:]):
                y, z = r + step * (i - weight.shape[2] // 2), c + step * (j - weight.shape[3] // 2)
                if 0 <= y < height and 0 <= z < width and (ranks[y, z] < ranks[r, c] or (own and (y, z) == (r, c))):
                    out[:, r, c] += weight[:, :, i, j] @ x[:, y, z]
        return out

    def normed(x: Array) -> Array:
        if mistake == "not normalised":
            return x
        x = x - x.mean(0)
        return x / np.sqrt((x**2).mean(0) + 1e-5)

    def layer(one: nn.Module, x: Array, a: Array | None = None) -> Array:
        y = normed(convolved(one.first, concat_elu(x)))
        if a is not None and mistake != "no short-cut":
            weight = array(one.short_cut.weight)[:, :, 0, 0]
            y += np.tensordot(weight, concat_elu(a), 1) + array(one.short_cut.bias)[:, None, None]
        y = normed(convolved(one.second, concat_elu(y)))
        if s is not None:
            y += condition(one.condition_bias, s)
        added, gate = np.split(y, 2)
        return x + added / (1 + np.exp(-gate))

    step = 1 if mistake == "no dilation" else 2
    maps = [convolved(net.first, image, own=mistake == "own pixel seen")]
    for index, block in enumerate(net.down):
        if index:
            maps.append(convolved(net.wider[index - 1], maps[-1], step))
        for one in block:
            maps.append(layer(one, maps[-1]))
    x = maps.pop()
    for index, block in enumerate(net.up):
        if index:
            x = convolved(net.narrower[index - 1], x, step)
        for one in block:
            x = layer(one, x, maps.pop())
    assert not maps
    if model.head.groups > 1:
        return readout(model, x, image)
    last = net.readout.params
    return np.tensordot(array(last.weight)[:, :, 0, 0], elu(x), 1) + array(last.bias)[:, None, None]


LOOPS = {"lmconv": lmconv}


def compared(
    mistake: str = "",
    *,
    channels: int = 1,
    head: str = "categorical",
    size: tuple[int, int] = (4, 5),
    shuffled: bool = True,
    conditions: int = 0,
    **options: object,
) -> tuple[Array, Array]:
    """The parameters of a random image by the package, and by the loop."""
    model = make(("", "lmconv", channels, head, 4), size, vector_size=conditions, **{"width": 4, **options})
    images = torch.randint(0, 4, (1, channels, *size))
    s = model.embed_condition(1, size, vector=torch.randn(1, conditions)) if conditions else None
    count = size[0] * size[1]
    order = Order.from_ranks(torch.randperm(count).view(size)) if shuffled else None
    seen = scale(images, 4, torch.float64)
    with torch.no_grad():
        found = model.network(Whole(seen, s, order))[0].numpy()
        spread = None if s is None else s[0].expand(-1, *size).numpy()
        ranks = None if order is None else order.ranks.numpy()
        return found, lmconv(model, seen[0].numpy(), ranks, spread, mistake)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (5, 1), (1, 5), (1, 1)], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"blocks": 3},
        {"layers": 2, "blocks": 1},
        {"kernel": 5},
        {"conditions": 3},
        {"channels": 3, "width": 7},
        {"channels": 3, "head": "logistic-mixture"},
    ],
    ids=str,
)
def test_lmconv_is_the_loop_of_its_equations(options: dict, size: tuple[int, int], shuffled: bool) -> None:
    assert_the_same(*compared(size=size, shuffled=shuffled, **options))


@pytest.mark.parametrize("mistake", ["own pixel seen", "raster order", "no dilation", "not normalised", "no short-cut"])
def test_one_mistake_would_be_seen(mistake: str) -> None:
    assert_seen(*compared(mistake))


def test_the_paper_s_network_has_its_number_of_weights() -> None:
    """Counted from the equations: three blocks of 5 layers on each way, 160 feature maps, mixtures of 10."""
    n, mixtures = 160, 100

    def conv(inputs: int, outputs: int, taps: int = 9) -> int:
        return inputs * outputs * taps + outputs

    layer, short_cut = conv(2 * n, n) + conv(2 * n, 2 * n), conv(2 * n, n, 1)
    down, up = 15 * layer + 2 * conv(n, n), 17 * (layer + short_cut) + 2 * conv(n, n)
    model = pixelrnn.build("lmconv", size=(32, 32), channels=3, levels=256, head="logistic-mixture", layers=5, width=n)
    assert sum(each.numel() for each in model.network.parameters()) == conv(3, n) + down + up + conv(n, mixtures, 1)


def test_a_pixel_that_sees_nothing_gets_the_bias_and_no_gradient() -> None:
    seen = Order.raster(1, 1).earlier_neighbours(3, 1, itself=False)
    x, weight, bias = (torch.randn(shape).requires_grad_() for shape in ((2, 3, 1, 1), (4, 3, 3, 3), (4,)))
    y = locally_masked(x, weight, bias, seen, 1)
    assert torch.equal(y, bias[:, None, None].expand_as(y))
    y.sum().backward()
    assert not x.grad.any()
    assert not weight.grad.any()
    assert torch.equal(bias.grad, torch.full((4,), 2.0))


def test_in_half_precision_sums_are_as_wide_as_the_weights() -> None:
    torch.set_default_dtype(torch.float32)
    seen = Order.named("s-curve-3", 6, 5).earlier_neighbours(3, 1, itself=True)
    given = [torch.randn(shape).requires_grad_() for shape in ((2, 16, 6, 5), (8, 16, 3, 3), (8,))]

    def found() -> list[torch.Tensor]:
        y = locally_masked(*given, seen, 1)
        return [y, *torch.autograd.grad(y.square().sum(), given)]

    exact = found()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = found()
    for one, other in zip(exact, rounded, strict=True):
        assert other.dtype == torch.float32
        assert (one - other).norm() < 0.01 * one.norm()


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (5, 3)])
@pytest.mark.parametrize("name", ["raster", "s-curve-3", "random-1"])
def test_the_gradients_of_a_locally_masked_convolution_are_right(
    name: str, kernel: int, dilation: int, itself: bool
) -> None:
    """As differences, and as those of the places around every pixel, gathered."""
    size = (4, 5)
    seen = Order.named(name, *size).earlier_neighbours(kernel, dilation, itself)
    x, weight, bias = (torch.randn(shape).requires_grad_() for shape in ((2, 3, *size), (4, 3, kernel, kernel), (4,)))
    assert torch.autograd.gradcheck(lambda *given: locally_masked(*given, seen, dilation), (x, weight, bias))
    near = F.unfold(x, kernel, dilation, padding=kernel // 2 * dilation).view(2, 3, kernel**2, *size) * seen
    gathered = torch.einsum("oct,bcthw->bohw", weight.flatten(2), near) + bias[:, None, None]
    assert_close(locally_masked(x, weight, bias, seen, dilation), gathered)
    assert_close(
        *(
            torch.cat([each.flatten() for each in torch.autograd.grad(y.square().sum(), (x, weight, bias))])
            for y in (locally_masked(x, weight, bias, seen, dilation), gathered)
        )
    )
