"""Contract 0 for PixelCNN++: convolutions and shifts pixel by pixel, and short-cuts as two lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import make
from loops import Array, array, assert_seen, assert_the_same
from loops_shifted import both, convolved, down_shift, first, readout, resnet, right_shift, weights
from torch import nn

import pixelrnn
from pixelrnn.canvas import Reach, Whole, scale
from pixelrnn.layers.normalised import NormalisedConv2d, fitted
from pixelrnn.model import PixelModel


def pixelcnn_pp(model: PixelModel, image: Array, s: Array | None = None, mistake: str = "") -> Array:
    """From an image (C, H, W) in -1..1: the parameters of every pixel. `u` knows the rows above, `ul` also the left."""
    net, told = model.network, s
    u, over, beside = (
        first(each, image, *sides)
        for each, sides in ((net.first_above, (1, 1, 1)), (net.first_over, (0, 1, 1)), (net.first_left, (1, 0, 0)))
    )
    u = down_shift(u)
    ul = (over if mistake == "own row seen" else down_shift(over)) + right_shift(beside)

    levels, level = [], net.resolution
    while level is not None:
        levels.append(level)
        level = level.deeper
    us, uls, sizes = [u], [ul], []
    for depth, level in enumerate(levels):
        for above, along in zip(level.down_above, level.down_along, strict=True):
            us.append(resnet(above, us[-1], None, (1, 1), s, mistake))
            uls.append(resnet(along, uls[-1], None if mistake == "no link" else us[-1], (1, 0), s, mistake))
        if depth + 1 < len(levels):
            sizes.append(us[-1].shape[1:])
            us.append(convolved(us[-1], *weights(level.shrink_above), 1, 1, 1)[:, ::2, ::2])
            uls.append(convolved(uls[-1], *weights(level.shrink_along), 1, 1, 0)[:, ::2, ::2])
            s = None if s is None else s[:, ::2, ::2]
    if mistake == "no short-cut":
        us, uls = ([np.zeros_like(each) for each in some[:-1]] + some[-1:] for some in (us, uls))
    u, ul = us.pop(), uls.pop()
    for depth, level in reversed(list(enumerate(levels))):
        if depth + 1 < len(levels):
            u = transposed(level.grow_above, level.bias_above, u, sizes[depth], mistake)
            ul = transposed(level.grow_along, level.bias_along, ul, sizes[depth], mistake)
        s = None if told is None else told[:, :: 2**depth, :: 2**depth]
        for above, along in zip(level.up_above, level.up_along, strict=True):
            u = resnet(above, u, us.pop(), (1, 1), s, mistake)
            ul = resnet(along, ul, np.concatenate([u, uls.pop()]), (1, 0), s, mistake)
    assert not us
    assert not uls
    return readout(model, ul, image)


def transposed(conv: nn.Conv2d, bias: Array, x: Array, size: tuple[int, int], mistake: str) -> Array:
    """Stride 2: every coarse pixel adds its product with a kernel of 2 x 2, or 2 x 3 one column to the left."""
    maps = len(array(conv.gain))
    v = array(conv.weight if conv.mask is None else conv.weight * conv.mask)
    four = v.reshape(2, 2, maps, *v.shape[1:])  # (row, column, output, input, 1, reach)
    length = np.sqrt((four**2).sum((0, 1, 3, 4, 5)))
    kernel = {(i, j): four[i, j, :, :, 0, 0] for i in (0, 1) for j in (0, 1)}
    if v.shape[3] == 2:
        kernel |= {(i, -1): four[i, 1, :, :, 0, 1] for i in (0, 1)}
    out = np.zeros((maps, 2 * x.shape[1], 2 * x.shape[2] + 1))
    for r in range(x.shape[1]):
        for c in range(x.shape[2]):
            for (i, j), weight in kernel.items():
                if 2 * c + j >= 0:
                    place = 2 * r + (1 - i if mistake == "upside down" else i), 2 * c + j
                    out[:, place[0], place[1]] += weight @ x[:, r, c]
    gain = (array(conv.gain) / length)[:, None, None]
    return (gain * out + array(bias))[:, : size[0], : size[1]]


LOOPS = {"pixelcnn-pp": pixelcnn_pp}


def compared(mistake: str = "", **options: object) -> tuple[Array, Array]:
    return both(pixelcnn_pp, "pixelcnn-pp", mistake, **{"width": 4, "resolutions": 3, **options})


@pytest.mark.parametrize("size", [(6, 5), (8, 8), (5, 1), (1, 5), (1, 1)], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"channels": 1},
        {},
        {"resolutions": 1},
        {"resolutions": 2, "channels": 1},
        {"conditions": 3},
        {"head": "categorical"},
    ],
    ids=str,
)
def test_pixelcnn_pp_is_the_loop_of_its_equations(options: dict, size: tuple[int, int]) -> None:
    assert_the_same(*compared(size=size, **options))


@pytest.mark.parametrize(
    "mistake",
    ["own row seen", "no link", "no short-cut", "not normalised", "upside down", "no minus", "no residual"],
)
def test_one_mistake_would_be_seen(mistake: str) -> None:
    assert_seen(*compared(mistake))


def test_the_paper_s_network_has_its_number_of_weights() -> None:
    """Counted from the authors' code: 5 layers, 160 feature maps, mixtures of 10 in three colours."""
    n, mixtures = 160, 100

    def conv(inputs: int, outputs: int, taps: int) -> int:  # v, g and b
        return inputs * outputs * taps + 2 * outputs

    def layer(taps: int, aside: int) -> int:
        return conv(2 * n, n, taps) + (conv(2 * aside * n, n, 1) if aside else 0) + conv(2 * n, 2 * n, taps)

    first = conv(4, n, 6) + conv(4, n, 3) + conv(4, n, 2)
    down = 15 * (layer(6, 0) + layer(4, 1)) + 2 * (conv(n, n, 6) + conv(n, n, 4))
    up = 17 * (layer(6, 1) + layer(4, 2)) + 2 * (conv(n, n, 6) + conv(n, n, 4))
    model = pixelrnn.build("pixelcnn-pp", size=(32, 32), channels=3, levels=256, layers=5, width=n)
    masked, redundant = 4 * n * n, 3 * n  # in the kernels of 2 x 3 pixels; biases beside a channel of ones
    count = sum(each.numel() for each in model.network.parameters())
    assert count - masked == first + down + up + conv(n, mixtures, 1) - redundant


def test_the_first_images_decide_the_initial_weights() -> None:
    """Behind a layer whose outputs nothing is added to, they have mean zero and the deviation that is aimed at."""
    model = make(("", "pixelcnn-pp", 3, "logistic-mixture", 4), (8, 8))
    seen = scale(torch.randint(0, 4, (5, 3, 8, 8)), 4, torch.float64)
    outputs = {}
    for name in ("resolution.down_above.0.first", "resolution.down_above.0.second", "readout.params"):
        layer = model.network.get_submodule(name)
        layer.register_forward_hook(lambda _, __, y, name=name: outputs.update({name: y}))
    with torch.no_grad():
        with fitted(model):
            model.network(Whole(seen))
        model.network(Whole(seen))
    for name, scaled in zip(outputs, (1, 0.1, 1), strict=True):
        torch.testing.assert_close(outputs[name].mean((0, 2, 3)), torch.zeros(outputs[name].shape[1]))
        torch.testing.assert_close(
            outputs[name].std((0, 2, 3), correction=0), torch.full((outputs[name].shape[1],), float(scaled))
        )


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (1, 16), (16, 1)], ids=str)
def test_a_layer_whose_outputs_do_not_vary_keeps_its_initial_weights(size: tuple[int, int]) -> None:
    """In one row nothing is above, and a coarse pixel that begins in the corner sees nothing, whatever the images."""
    torch.manual_seed(0)
    model = pixelrnn.build("pixelcnn-pp", size=size, levels=4, layers=2, width=8).float()
    images = torch.randint(0, 4, (16, 1, *size), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), fitted(model):
        model.log_prob(images)
    (-model.log_prob(images).mean()).backward()
    for name, weight in model.named_parameters():
        assert weight.abs().max() < 1e3, name
        assert weight.grad is None or weight.grad.abs().max() < 1e5, name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_new_layer_is_new_in_any_dtype(dtype: torch.dtype) -> None:
    torch.set_default_dtype(torch.float32)
    layer = NormalisedConv2d(2, 3, Reach(1, 0, 1, 0), scale=0.1).to(dtype)
    assert layer.initial
    with torch.no_grad():
        layer.gain[1] *= 1.01
    assert not layer.initial
