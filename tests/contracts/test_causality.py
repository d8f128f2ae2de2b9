"""Contracts 2 and 3: nobody sees the present or the future, and everybody sees what is declared."""

from __future__ import annotations

import pytest
import torch
from cases import CASES, IDS, make

import pixelrnn
from pixelrnn.canvas import Reach
from pixelrnn.errors import CausalityError
from pixelrnn.layers.convolution import MaskedConv2d
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.measure.inspection import prove_causal, seen_by, seen_pairs
from pixelrnn.networks import NETWORKS, options_of


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_no_parameter_depends_on_the_present_or_the_future(case: tuple) -> None:
    model = make(case)
    report = prove_causal(model, (9, 7))
    channels, groups, pixels = model.channels, model.head.groups, 63
    later_pixels = groups * channels * pixels * (pixels - 1) // 2
    same_pixel = pixels * groups * (2 * channels - groups + 1) // 2
    assert report.pairs == later_pixels + same_pixel
    assert report.replacements == pixels * groups


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_later_colour_sees_every_earlier_colour_of_its_pixel(case: tuple) -> None:
    model = make(case)
    from pixelrnn.measure.inspection import gradients, transparent

    image, per_part = torch.rand(model.channels, 5, 5), model.head.num_params // model.head.groups
    for colour in range(model.head.groups):  # with one group the head does it
        part = slice(colour * per_part, (colour + 1) * per_part)
        here = gradients(transparent(model), [(2, 2)], image, part)[0, :, 2, 2]
        assert (here != 0).tolist() == [channel < colour for channel in range(model.channels)]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "options",
    [
        {"layers": 1},
        {"layers": 2},
        {"layers": 2, "kernel": 5, "first_kernel": 3},
        {"layers": 3, "skip": False},
        {"layers": 2, "residual": False},
        {"layers": 2, "residual": False, "skip": False},
    ],
)
@pytest.mark.parametrize(("size", "channels"), [((9, 7), 1), ((5, 12), 1), ((5, 7), 3)])
def test_the_measured_field_is_the_declared_one(
    network: str, options: dict, size: tuple[int, int], channels: int
) -> None:
    options = {key: value for key, value in {**options, "width": 6}.items() if key in options_of(network)}
    model = pixelrnn.build(network, size=size, channels=channels, levels=2, **options).double()
    seen = seen_pairs(model, size)
    for index, (row, column) in enumerate((row, column) for row in range(size[0]) for column in range(size[1])):
        declared = model.network.field(row, column, *size)
        assert torch.equal(seen[index], declared), f"{network} {options} at {row}, {column}"


SHARES = [  # of all pairs (pixel, earlier pixel) of a 28 x 28 image, zero padding, 7 x 7 first layer
    ("pixelcnn", 1, 0.0843),
    ("pixelcnn", 7, 0.3252),
    ("pixelcnn", 12, 0.5413),
    ("pixelcnn", 15, 0.6527),
    ("gated-pixelcnn", 2, 0.1038),
    ("gated-pixelcnn", 8, 0.3974),
    ("gated-pixelcnn", 11, 0.5616),
    ("gated-pixelcnn", 16, 0.8037),
    ("row-lstm", 1, 0.6514),
    ("row-lstm", 7, 0.7442),
    ("row-lstm", 12, 0.7901),
    ("diagonal-bilstm", 1, 0.9979),
    ("diagonal-bilstm", 3, 0.9979),
]


@pytest.mark.parametrize(("network", "layers", "share"), SHARES)
def test_the_published_share_of_the_past_is_reached_exactly(network: str, layers: int, share: float) -> None:
    """Counts of a reachability program; a gated network's first layer is the 7 x 7 one."""
    model = pixelrnn.build(network, size=(28, 28), levels=2, layers=layers, width=2).double()
    seen = seen_pairs(model, (28, 28)).reshape(784, 784)
    assert not seen.triu().any()
    assert round(float(seen.sum()) / (784 * 783 / 2), 4) == share


@pytest.mark.parametrize("network", NETWORKS)
def test_in_a_large_image_the_measured_field_is_the_declared_one(network: str) -> None:
    """States that went through many gates may saturate, and a gradient that rounds to zero would look like a mask."""
    options = {key: value for key, value in {"layers": 7, "width": 8}.items() if key in options_of(network)}
    model = pixelrnn.build(network, size=(28, 28), levels=2, **options).double()
    pixels = [(15, 13), (27, 27), (14, 14), (27, 0)]
    for (row, column), seen in zip(pixels, seen_pairs(model, (28, 28), pixels), strict=True):
        assert torch.equal(seen, model.network.field(row, column, 28, 28))


def test_gated_has_no_blind_spot_and_pixelcnn_has_the_known_one() -> None:
    gated = pixelrnn.build("gated-pixelcnn", size=(21, 21), levels=2, layers=5, width=4).double()
    plain = pixelrnn.build("pixelcnn", size=(21, 21), levels=2, layers=5, width=4).double()
    field = seen_by(gated, 10, 10, (21, 21))
    rectangle = torch.zeros(21, 21, dtype=torch.bool)
    rectangle[2:10, 3:18] = True  # 8 rows above, 7 columns on either side
    rectangle[10, 3:10] = True
    assert torch.equal(field, rectangle)
    field = seen_by(plain, 10, 10, (21, 21))
    ends = [int(field[10 - up].nonzero().max()) - 10 for up in range(1, 9)]
    assert ends == [3, 4, 5, 6, 7, 8, 8, 8]  # d rows above: d + 2 columns to the right


def masked_layers(model: pixelrnn.PixelModel) -> list[MaskedConv2d]:
    """Those whose mask keeps the future out; what is read one row late is the past without one."""
    late = {
        each
        for module in model.modules()
        if isinstance(module, Recurrence) and module.mirrored
        for each in module.inputs
    }
    masked = [each for each in model.modules() if isinstance(each, MaskedConv2d) and each.mask is not None]
    return [each for each in masked if each not in late]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_single_mask_that_is_broken_is_found(network: str) -> None:
    """The proof can fail: one mask after the other is opened, and each time it does."""
    model = make(("", network, 3, "categorical", 4), layers=2, width=6)
    layers = masked_layers(model)
    assert layers
    for layer in layers:
        mask = layer.mask
        layer.mask = torch.ones_like(mask)
        with pytest.raises(CausalityError, match="not causal"):
            prove_causal(model, (4, 4))
        layer.mask = mask
    prove_causal(model, (4, 4))


def test_groups_counted_over_both_halves_of_a_gate_are_found() -> None:
    """The mistake of taking the colour group of a gated layer over all 2p outputs instead of inside each half."""
    from pixelrnn.layers.masks import causal_mask

    model = make(("", "gated-pixelcnn", 3, "categorical", 4), layers=2, width=6)
    layer = model.network.layers[1].horizontal
    layer.mask = causal_mask("B", 12, 6, (1, 2), 1, 3, blocks=1)
    with pytest.raises(CausalityError):
        prove_causal(model, (4, 4))


def test_a_residual_around_the_first_gated_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(("", "gated-pixelcnn", 1, "bernoulli", 2), layers=2, width=6)
    out = model.network.outs[0]
    forward = out.forward
    monkeypatch.setattr(out, "forward", lambda y, canvas, *_, **__: forward(y, canvas) + canvas.look(Reach(0, 0, 0, 0)))
    with pytest.raises(CausalityError, match="row 0, column 0"):
        prove_causal(model, (4, 4))
