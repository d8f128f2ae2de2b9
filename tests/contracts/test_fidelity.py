"""Contract 0: a network is the one of its paper, pixel by pixel.

The loops of PixelCNN and Gated PixelCNN are written from the papers' equations and figures, those of other networks are
in the other `test_fidelity` files. They share nothing with the package but the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import test_fidelity_lmconv
import test_fidelity_local
import test_fidelity_mdlstm
import test_fidelity_mixtures
import test_fidelity_multiscale
import test_fidelity_pixelcnn_pp
import test_fidelity_pixelsnail
import test_fidelity_recurrent
import test_fidelity_transformer
import torch
from loops import (
    Array,
    Layer,
    assert_seen,
    assert_the_same,
    both_ways,
    condition,
    pointwise,
    relu,
    residual_blocks,
    sigmoid,
)

import pixelrnn
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS


def pixelcnn(
    model: PixelModel, image: Array, kernel: int, first_kernel: int, mistake: str = "", s: Array | None = None
) -> Array:
    """PixelRNN paper, table 1 and figure 5 (left): the parameters of every pixel, (params, H, W).

    s (maps, H, W) is a condition: every k x k layer of a block is biased by V * s.
    """
    network, colours = model.network, "RGB"[: model.channels]

    def branch(index: int, x: Array) -> Array:
        block = network.blocks[index]
        reduce, expand = pointwise([block.reduce, block.expand], colours, mistake)
        y = reduce(relu(x))  # h maps
        y = Layer(block.convolve, (kernel, kernel), "B", colours)(y if mistake == "a ReLU less" else relu(y))
        y = y + condition(block.condition_bias, s, mistake)
        y = expand(relu(y))
        return y + x if mistake == "residual twice" else y

    return residual_blocks(network, image, colours, first_kernel, branch, mistake=mistake)


def gated_pixelcnn(
    model: PixelModel, image: Array, kernel: int, first_kernel: int, mistake: str = "", s: Array | None = None
) -> Array:
    """Conditional PixelCNN paper, equation 2 and figure 2, on the image with one blank row above it.

    With a condition s (maps, H, W) equation 4, and section 2.3 for one with a place: tanh(W x + V s) times
    sigmoid(W x + V s) in both stacks. The link to the pixels of a row has the condition of that row.
    """
    network, colours = model.network, "RGB"[: model.channels]
    height, width = image.shape[1:]
    parts = 2 if model.config["options"]["skip"] else 1
    extended = np.concatenate([np.zeros_like(image[:, :1]), image], 1)  # image row r is row r + 1 here

    def gate(x: Array) -> Array:
        half = len(x) // 2
        content = sigmoid(x[:half]) if mistake == "sigmoid for tanh" else np.tanh(x[:half])
        opening = np.tanh(x[half:]) if mistake == "tanh for sigmoid" else sigmoid(x[half:])
        return opening * content

    v_in, h_in = extended, image
    skipped: list[Array] = []
    for index, layer in enumerate(network.layers):
        n, kind = (first_kernel, "A") if index == 0 else (kernel, "B")
        if mistake == "mask B first":
            kind = "B"
        vertical = Layer(layer.vertical, (n, n), "rows", colours)
        blocks = 1 if mistake == "groups over both halves" else 2
        horizontal = Layer(layer.horizontal, (1, n), kind, colours, blocks)
        link = Layer(layer.link, (1, 1), "everything", colours)
        v2 = vertical(v_in)
        last = index == len(network.layers) - 1
        to_v, to_h = both_conditional(layer, s, mistake, last=last) if s is not None else (0.0, 0.0)
        v_out = gate(v2 + to_v)
        source = np.concatenate([v_out, v_out]) if mistake == "link after the gate" else v2
        linked = link(source + to_v if mistake == "link after the condition" else source)
        shifted = np.zeros((len(linked), height, width))
        for row in range(height):  # shifted down: row r of the image hears of row r - 1, which is row r of `extended`
            above = {"no shift": row + 1, "shifted twice": max(row - 1, 0)}.get(mistake, row)
            shifted[:, row] = linked[:, above]
        g = gate(horizontal(h_in) + shifted + to_h)
        if mistake == "condition after the gate":
            g = gate(horizontal(h_in) + shifted) + np.split(to_h, 2)[0]
        seen = "everything" if mistake == "1 x 1 without mask" else "B"
        out = Layer(network.outs[index], (1, 1), seen, colours, 1 if last else parts)(g)
        forward, skip = np.split(out, parts) if parts == 2 and not last else (out, out)
        skipped.append(skip)
        h_in = forward + (h_in if index > 0 and mistake != "no residual" else 0)
        v_in = v_out + v_in if mistake == "vertical residual" and index else v_out
    x = sum(skipped[1:], skipped[0]) if parts == 2 else h_in
    for layer in pointwise(network.readout.layers, colours):
        x = layer(relu(x))
    return x


def both_conditional(layer: Any, s: Array, mistake: str, *, last: bool) -> tuple[Array, Array]:
    """V * s of the vertical stack, with a row below that nobody hears of, and of the horizontal one."""
    to_h = condition(layer.bias_along, s, mistake)
    # Nobody hears of the last layer's vertical gate, so there are no weights for it.
    to_v = np.zeros_like(to_h) if last else condition(layer.bias_above, s, mistake)
    to_v = np.concatenate([to_v, np.zeros_like(to_v[:, :1])], 1)
    for each, stack in ((to_v, "vertical"), (to_h, "horizontal")):
        half = len(each) // 2
        each[:half] *= mistake != "condition in the sigmoid only"
        each[half:] *= mistake != "condition in the tanh only"
        each *= mistake != f"no condition in the {stack} stack"
    return to_v, to_h


LOOPS = {"pixelcnn": pixelcnn, "gated-pixelcnn": gated_pixelcnn}


def compared(network: str, mistake: str = "", **options: object) -> tuple[Array, Array]:
    """The parameters of a random image by the package, and by the loop above."""
    settings = {"layers": 3, "width": 7, "kernel": 3, "first_kernel": 7, **options}
    model = pixelrnn.build(network, size=(5, 4), levels=4, **settings).eval()
    images = torch.randint(0, 4, (1, model.channels, 5, 4))
    kernels = settings["kernel"], settings["first_kernel"]
    return both_ways(model, images, lambda image: LOOPS[network](model, image, *kernels, mistake))


def test_every_network_has_a_loop_from_its_paper() -> None:
    others = [test_fidelity_recurrent, test_fidelity_mdlstm, test_fidelity_mixtures, test_fidelity_multiscale]
    others += [test_fidelity_local, test_fidelity_transformer, test_fidelity_pixelcnn_pp, test_fidelity_pixelsnail]
    others += [test_fidelity_lmconv]
    assert set(LOOPS).union(*(each.LOOPS for each in others)) == set(NETWORKS)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    "options",
    [{"width": 5}, {"width": 7}, {"kernel": 5, "first_kernel": 3, "layers": 2}, {"out_width": 4}, {"layers": 1}],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", LOOPS)
def test_a_network_is_the_loop_of_its_paper(network: str, channels: int, options: dict, skip: bool) -> None:
    found, expected = compared(network, channels=channels, skip=skip, **options)
    assert found.shape == (1, 4 * channels, 5, 4)
    assert_the_same(found, expected)


MISTAKES = [
    ("pixelcnn", "mask B first"),
    ("pixelcnn", "no residual"),
    ("pixelcnn", "residual twice"),
    ("pixelcnn", "a ReLU less"),
    ("pixelcnn", "no skip"),
    ("pixelcnn", "1 x 1 without mask"),
    ("gated-pixelcnn", "sigmoid for tanh"),
    ("gated-pixelcnn", "tanh for sigmoid"),
    ("gated-pixelcnn", "link after the gate"),
    ("gated-pixelcnn", "no shift"),
    ("gated-pixelcnn", "shifted twice"),
    ("gated-pixelcnn", "mask B first"),
    ("gated-pixelcnn", "groups over both halves"),
    ("gated-pixelcnn", "no residual"),
    ("gated-pixelcnn", "vertical residual"),
    ("gated-pixelcnn", "1 x 1 without mask"),
]


@pytest.mark.parametrize(("network", "mistake"), MISTAKES)
def test_one_mistake_in_a_network_would_be_seen(network: str, mistake: str) -> None:
    assert_seen(*compared(network, mistake, channels=3))
