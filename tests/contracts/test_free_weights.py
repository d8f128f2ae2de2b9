"""A network has as many weights as its paper says: those that no mask hides, counted from the papers' tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

import pixelrnn
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.model import PixelModel


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
    """Weights that no mask hides, biases, and what a recurrence has of its own: state to state, initial states."""
    layers = [each for each in model.modules() if isinstance(each, CausalConv2d | Recurrence)]
    held = sum(each.numel() for layer in layers for each in layer.parameters(recurse=False))
    assert held == model.num_parameters, "every weight is a convolution's or a recurrence's"
    masks = [layer.mask for layer in layers if isinstance(layer, CausalConv2d) and layer.mask is not None]
    return held - sum(int((~mask).sum()) for mask in masks)


def table_1(block: int, *, channels: int, levels: int, layers: int, width: int, out_width: int, skip: bool) -> int:
    """A network of the PixelRNN paper whose blocks have `block` weights each."""
    h, params = width, channels if levels == 2 else channels * levels
    first = (3 * 7 + 3) * channels * 2 * h + masked("A", 2 * h, channels, channels) + 2 * h
    skips = layers * one_by_one(2 * h, 2 * h, channels) if skip else 0
    return first + layers * block + skips + outputs([2 * h, out_width, out_width, params], channels)


def outputs(widths: list[int], channels: int) -> int:
    return sum(one_by_one(out, seen, channels) for seen, out in itertools.pairwise(widths))


def pixelcnn_block(h: int, channels: int) -> int:
    convolution = (3 + 1) * h * h + masked("B", h, h, channels) + h  # 3 x 3: a row above and one to the left
    return one_by_one(h, 2 * h, channels) + convolution + one_by_one(2 * h, h, channels)


def row_lstm_block(h: int, channels: int, kernel: int = 3) -> int:
    left = kernel // 2 * 2 * h * 4 * h
    states = kernel * h * 4 * h + 2 * h  # two initial states
    return left + input_to_state(h, channels) + states + one_by_one(2 * h, h, channels)


def diagonal_bilstm_block(h: int, channels: int) -> int:
    direction = input_to_state(h, channels) + 2 * h * 4 * h + 2 * h
    return 2 * direction + one_by_one(2 * h, h, channels)


def input_to_state(h: int, channels: int) -> int:
    """The pixel itself, for each of the four gates."""
    return 4 * masked("B", h, 2 * h, channels) + 4 * h


MNIST = {"channels": 1, "levels": 2, "layers": 7, "width": 16, "out_width": 32}
CIFAR = {"channels": 3, "levels": 256, "layers": 12, "width": 128, "out_width": 1024}
TABLE_1 = {
    "PixelCNN for binary MNIST": ("pixelcnn", pixelcnn_block, MNIST, {}),
    "PixelCNN for CIFAR-10": ("pixelcnn", pixelcnn_block, CIFAR | {"layers": 15}, {}),
    "Diagonal BiLSTM for binary MNIST": ("diagonal-bilstm", diagonal_bilstm_block, MNIST, {}),
    "Row LSTM for CIFAR-10": ("row-lstm", row_lstm_block, CIFAR, {}),
    "Row LSTM of 5": ("row-lstm", row_lstm_block, MNIST, {"kernel": 5}),
    "Diagonal BiLSTM of 47 maps": (
        "diagonal-bilstm",
        diagonal_bilstm_block,
        CIFAR | {"layers": 2, "width": 47, "out_width": 40},
        {},
    ),
}


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(("network", "block", "settings", "kernel"), TABLE_1.values(), ids=list(TABLE_1))
def test_a_network_has_the_free_weights_of_table_1(
    network: str, block: Callable[..., int], settings: dict, kernel: dict, skip: bool
) -> None:
    model = pixelrnn.build(network, size=(32, 32), skip=skip, **settings, **kernel)
    expected = block(settings["width"], settings["channels"], **kernel)
    assert free_weights(model) == table_1(expected, skip=skip, **settings)


def test_the_free_weights_of_a_binary_pixelcnn_are_this_number() -> None:
    """7 blocks, h = 16, 32 maps: worked out by hand, so that the formula above is not the only opinion."""
    model = pixelrnn.build("pixelcnn", size=(28, 28), levels=2, layers=7, width=16, out_width=32, skip=False)
    first = 24 * 32 + 32  # 800
    block = (32 * 16 + 16) + (5 * 16 * 16 + 16) + (16 * 32 + 32)  # 528 + 1296 + 544 = 2368
    end = (32 * 32 + 32) * 2 + 33  # 2145
    assert free_weights(model) == first + 7 * block + end == 19521


def test_the_free_weights_of_the_binary_diagonal_bilstm_are_this_number() -> None:
    """7 blocks, h = 16, 32 maps: worked out by hand, so that the formula above is not the only opinion."""
    model = pixelrnn.build("diagonal-bilstm", size=(28, 28), skip=False, **MNIST)
    first = 24 * 32 + 32  # 800
    direction = (32 * 64 + 64) + 32 * 64 + 2 * 16  # 2112 + 2048 + 32 = 4192
    block = 2 * direction + (16 * 32 + 32)  # 8928
    end = (32 * 32 + 32) * 2 + 33  # 2145
    assert free_weights(model) == first + 7 * block + end == 65441


def test_the_free_weights_of_the_row_lstm_for_cifar_10_are_this_number() -> None:
    """12 blocks, h = 128. The colours have 43, 43, 42 of 128 maps, 86, 85, 85 of 256, 342, 341, 341 of 1024."""
    model = pixelrnn.build("row-lstm", size=(32, 32), skip=False, **CIFAR)
    first = 24 * 3 * 256 + (85 + 85 * 2) + 256  # 18943
    left, own = 256 * 512, 4 * (43 * 86 + 43 * 171 + 42 * 256)  # 131072 and 87212
    expand = 86 * 43 + 85 * 86 + 85 * 128 + 256  # 22144
    block = left + own + 512 + 3 * 128 * 512 + 2 * 128 + expand  # 437804
    wide = 342 * 86 + 341 * 171 + 341 * 256 + 1024  # 176043
    deep = 342 * 342 + 341 * 683 + 341 * 1024 + 1024  # 700075
    logits = 256 * (342 + 683 + 1024) + 768  # 525312
    assert free_weights(model) == first + 12 * block + wide + deep + logits == 6674021


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
    model = pixelrnn.build(
        "gated-pixelcnn",
        size=(32, 32),
        channels=channels,
        levels=levels,
        layers=layers,
        width=p,
        kernel=kernel,
        out_width=out_width,
        skip=skip,
    )
    assert free_weights(model) == body + outs + outputs([p, out_width or p, params], channels)
