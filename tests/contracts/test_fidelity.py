"""Contract 0: a network is the one of its paper, pixel by pixel.

The loops below are written from the papers' equations and figures, with whole k x k kernels and the colour table
spelled out. They share nothing with the package but the weights. What a layer reads outside the image is zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
import torch

import pixelrnn
from pixelrnn.canvas import Whole, scale
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS

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
        return np.array([
            [
                (colour(out % block, block, self.colours), colour(seen, in_width, self.colours)) in MAY_SEE[kind]
                for seen in range(in_width)
            ]
            for out in range(out_width)
        ])  # fmt: skip

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


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def pointwise(modules: Iterable[CausalConv2d], colours: str, mistake: str = "") -> list[Layer]:
    """1 x 1 layers: only the colours are masked."""
    return [Layer(each, (1, 1), "everything" if mistake == "1 x 1 without mask" else "B", colours) for each in modules]


def pixelcnn(model: PixelModel, image: Array, kernel: int, first_kernel: int, mistake: str = "") -> Array:
    """PixelRNN paper, table 1 and figure 5 (left): the parameters of every pixel, (params, H, W)."""
    network, colours = model.network, "RGB"[: model.channels]
    kind = "B" if mistake == "mask B first" else "A"
    x = Layer(network.first, (first_kernel, first_kernel), kind, colours)(image)  # 2h maps
    skipped = np.zeros_like(x)
    skips = pointwise(network.skips, colours)
    for index, block in enumerate(network.blocks):
        reduce, expand = pointwise([block.reduce, block.expand], colours, mistake)
        convolve = Layer(block.convolve, (kernel, kernel), "B", colours)
        y = reduce(relu(x))  # h maps
        y = convolve(y if mistake == "a ReLU less" else relu(y))
        y = expand(relu(y))
        x = y if mistake == "no residual" else x + y
        if mistake == "residual twice":
            x = x + y
        if skips and mistake != "no skip":
            skipped = skipped + skips[index](x)
    x = x + skipped
    for layer in pointwise(network.readout.layers, colours):  # two 1 x 1 layers, then the logits
        x = layer(relu(x))
    return x


def gated_pixelcnn(model: PixelModel, image: Array, kernel: int, first_kernel: int, mistake: str = "") -> Array:
    """Conditional PixelCNN paper, equation 2 and figure 2, on the image with one blank row above it."""
    network, colours = model.network, "RGB"[: model.channels]
    height, width = image.shape[1:]
    extended = np.concatenate([np.zeros_like(image[:, :1]), image], 1)  # image row r is row r + 1 here

    def gate(x: Array) -> Array:
        half = len(x) // 2
        content = sigmoid(x[:half]) if mistake == "sigmoid for tanh" else np.tanh(x[:half])
        valve = np.tanh(x[half:]) if mistake == "tanh for sigmoid" else sigmoid(x[half:])
        return valve * content

    v_in, h_in = extended, image
    skips, skipped = pointwise(network.skips, colours), []
    for index, layer in enumerate(network.layers):
        n, kind = (first_kernel, "A") if index == 0 else (kernel, "B")
        if mistake == "mask B first":
            kind = "B"
        vertical = Layer(layer.vertical, (n, n), "rows", colours)
        blocks = 1 if mistake == "groups over both halves" else 2
        horizontal = Layer(layer.horizontal, (1, n), kind, colours, blocks)
        link = Layer(layer.link, (1, 1), "everything", colours)
        v2 = vertical(v_in)
        v_out = gate(v2)
        told = np.concatenate([v_out, v_out]) if mistake == "link after the gate" else v2
        told = link(told)
        shifted = np.zeros((len(told), height, width))
        for row in range(height):  # shifted down: row r of the image hears of row r - 1, which is row r of `extended`
            above = {"no shift": row + 1, "shifted twice": max(row - 1, 0)}.get(mistake, row)
            shifted[:, row] = told[:, above]
        g = gate(horizontal(h_in) + shifted)
        if skips:
            skipped.append(skips[index](g))
        if index < len(network.outs):
            (out,) = pointwise([network.outs[index]], colours, mistake)
            residual = index > 0 and mistake != "no residual"
            h_in = out(g) + (h_in if residual else 0)
        v_in = v_out + v_in if mistake == "vertical residual" and index else v_out
    x = sum(skipped[1:], skipped[0]) if skips else h_in
    for layer in pointwise(network.readout.layers, colours):
        x = layer(relu(x))
    return x


PAPERS = {"pixelcnn": pixelcnn, "gated-pixelcnn": gated_pixelcnn}


def both_ways(network: str, mistake: str = "", **options: object) -> tuple[Array, Array]:
    """The parameters of a random image by the package, and by the loop above."""
    settings = {"layers": 3, "width": 7, "kernel": 3, "first_kernel": 7, **options}
    model = pixelrnn.build(network, size=(5, 4), levels=4, **settings).eval()
    image = torch.randint(0, 4, (1, model.channels, 5, 4))
    with torch.no_grad():
        found = model.network(Whole(scale(image, 4, torch.float64)))[0].numpy()
    seen = 2 * image[0].numpy() / 3 - 1
    return found, PAPERS[network](model, seen, settings["kernel"], settings["first_kernel"], mistake)


def test_every_network_has_a_loop_from_its_paper() -> None:
    from test_fidelity_mixtures import LOOPS  # which import from here
    from test_fidelity_recurrent import BLOCKS

    assert {*PAPERS, *BLOCKS, *LOOPS, "multiscale"} == set(NETWORKS)  # the last in test_multiscale.py


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    "options",
    [{"width": 5}, {"width": 7}, {"kernel": 5, "first_kernel": 3, "layers": 2}, {"out_width": 4}, {"layers": 1}],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", PAPERS)
def test_a_network_is_the_loop_of_its_paper(network: str, channels: int, options: dict, skip: bool) -> None:
    found, expected = both_ways(network, channels=channels, skip=skip, **options)
    assert found.shape == expected.shape == (4 * channels, 5, 4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


MISTAKES = [
    ("pixelcnn", "mask B first"), ("pixelcnn", "no residual"), ("pixelcnn", "residual twice"),
    ("pixelcnn", "a ReLU less"), ("pixelcnn", "no skip"), ("pixelcnn", "1 x 1 without mask"),
    ("gated-pixelcnn", "sigmoid for tanh"), ("gated-pixelcnn", "tanh for sigmoid"),
    ("gated-pixelcnn", "link after the gate"), ("gated-pixelcnn", "no shift"), ("gated-pixelcnn", "shifted twice"),
    ("gated-pixelcnn", "mask B first"), ("gated-pixelcnn", "groups over both halves"),
    ("gated-pixelcnn", "no residual"), ("gated-pixelcnn", "vertical residual"),
    ("gated-pixelcnn", "1 x 1 without mask"),
]  # fmt: skip


@pytest.mark.parametrize(("network", "mistake"), MISTAKES)
def test_one_mistake_in_a_network_would_be_seen(network: str, mistake: str) -> None:
    found, expected = both_ways(network, mistake, channels=3)
    assert np.abs(found - expected).max() > 1e-3


def group_sizes(width: int, groups: int) -> list[int]:
    """How many of `width` maps are of each colour: the first index of colour g is ceil(g width / groups)."""
    first = [-(-group * width // groups) for group in range(groups + 1)]
    return [b - a for a, b in itertools.pairwise(first)]


def masked(kind: str, out_width: int, in_width: int, groups: int) -> int:
    """Weights of one tap at the pixel itself that the table allows."""
    return sum(
        out * seen
        for (i, out), (j, seen) in itertools.product(
            enumerate(group_sizes(out_width, groups)), enumerate(group_sizes(in_width, groups))
        )
        if (j < i if kind == "A" else j <= i)
    )


def one_by_one(out_width: int, in_width: int, groups: int) -> int:
    return masked("B", out_width, in_width, groups) + out_width


def free_weights(model: PixelModel) -> int:
    """Weights that no mask hides, and biases."""
    layers = [each for each in model.modules() if isinstance(each, CausalConv2d)]
    held = sum(each.numel() for layer in layers for each in layer.parameters(recurse=False))
    assert held == model.num_parameters, "every weight is a convolution's"
    hidden = sum(int((~layer.mask).sum()) for layer in layers if layer.mask is not None)
    return held - hidden


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    ("channels", "levels", "layers", "h", "out_width"),
    [(1, 2, 7, 16, 32), (3, 256, 15, 128, 1024)],
    ids=["binary MNIST", "CIFAR-10"],
)
def test_pixelcnn_has_the_free_weights_of_table_1(
    channels: int, levels: int, layers: int, h: int, out_width: int, skip: bool
) -> None:
    params = channels if levels == 2 else channels * levels
    first = (3 * 7 + 3) * channels * 2 * h + masked("A", 2 * h, channels, channels) + 2 * h
    convolution = (3 + 1) * h * h + masked("B", h, h, channels) + h  # 3 x 3: a row above and one to the left
    block = one_by_one(h, 2 * h, channels) + convolution + one_by_one(2 * h, h, channels)
    skips = layers * one_by_one(2 * h, 2 * h, channels) if skip else 0
    end = sum(
        one_by_one(out, seen, channels) for seen, out in itertools.pairwise([2 * h, out_width, out_width, params])
    )
    model = pixelrnn.build(
        "pixelcnn", size=(32, 32), channels=channels, levels=levels, layers=layers, width=h, out_width=out_width,
        skip=skip,
    )  # fmt: skip
    assert free_weights(model) == first + layers * block + skips + end


def test_the_free_weights_of_a_binary_pixelcnn_are_this_number() -> None:
    """7 blocks, h = 16, 32 maps: worked out by hand, so that the formula above is not the only opinion."""
    model = pixelrnn.build("pixelcnn", size=(28, 28), levels=2, layers=7, width=16, out_width=32, skip=False)
    first = 24 * 32 + 32  # 800
    block = (32 * 16 + 16) + (5 * 16 * 16 + 16) + (16 * 32 + 32)  # 528 + 1296 + 544 = 2368
    end = (32 * 32 + 32) * 2 + 33  # 2145
    assert free_weights(model) == first + 7 * block + end == 19521


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    ("channels", "levels", "layers", "p", "kernel", "out_width"),
    [(1, 2, 7, 16, 3, 0), (3, 256, 4, 64, 3, 96), (3, 8, 3, 47, 5, 40)],
)
def test_gated_pixelcnn_has_the_free_weights_of_figure_2(
    channels: int, levels: int, layers: int, p: int, kernel: int, out_width: int, skip: bool
) -> None:
    params = channels if levels == 2 else channels * levels

    def layer(seen: int, n: int, kind: str) -> int:
        vertical = (n // 2 + 1) * n * seen * 2 * p + 2 * p
        horizontal = n // 2 * seen * 2 * p + 2 * masked(kind, p, seen, channels) + 2 * p  # two halves
        link = 2 * p * 2 * p + 2 * p
        return vertical + horizontal + link

    body = layer(channels, 7, "A") + (layers - 1) * layer(p, kernel, "B")
    outs = (layers + layers - 1 if skip else layers) * one_by_one(p, p, channels)  # the last map is of no use to skips
    end = sum(one_by_one(out, seen, channels) for seen, out in itertools.pairwise([p, out_width or p, params]))
    model = pixelrnn.build(
        "gated-pixelcnn", size=(32, 32), channels=channels, levels=levels, layers=layers, width=p, kernel=kernel,
        out_width=out_width, skip=skip,
    )  # fmt: skip
    assert free_weights(model) == body + outs + end
