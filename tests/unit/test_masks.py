"""Masks against the table of the PixelRNN paper, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelrnn.canvas import Reach
from pixelrnn.layers.convolution import CausalConv2d, MaskedConv2d, Pointwise
from pixelrnn.layers.masks import Kind, causal_mask, colour_mask, group_of

# rows: of the output, columns: of the input, both R G B (section 3.4, figure 2)
TABLE = {
    "A": [[0, 0, 0], [1, 0, 0], [1, 1, 0]],
    "B": [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
}

# How many maps of a width are red, green and blue
THIRDS = {3: (1, 1, 1), 7: (3, 2, 2), 16: (6, 5, 5), 128: (43, 43, 42)}


def groups(width: int) -> list[int]:
    """The colour of every map, contiguous."""
    red, green, blue = THIRDS[width]
    return [0] * red + [1] * green + [2] * blue


@pytest.mark.parametrize("kind", ["A", "B"])
def test_a_mask_over_three_maps_is_the_table_of_the_paper(kind: Kind) -> None:
    assert colour_mask(kind, 3, 3, 3).int().tolist() == TABLE[kind]


@pytest.mark.parametrize("width", THIRDS)
def test_groups_are_contiguous_and_as_equal_as_can_be(width: int) -> None:
    assert group_of(width, 3).tolist() == groups(width)
    assert max(THIRDS[width]) - min(THIRDS[width]) <= 1


@pytest.mark.parametrize("blocks", [2, 4])
@pytest.mark.parametrize("width", THIRDS)
def test_groups_repeat_inside_each_block(width: int, blocks: int) -> None:
    """The tanh half and the sigmoid half, or the four gates of an LSTM, each have their own thirds."""
    assert group_of(blocks * width, 3, blocks).tolist() == groups(width) * blocks
    assert group_of(blocks * width, 3).tolist() != groups(width) * blocks


def test_a_width_that_does_not_divide_into_its_blocks_is_refused() -> None:
    with pytest.raises(AssertionError, match="2 blocks"):
        group_of(7, 3, 2)


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("out_width", THIRDS)
@pytest.mark.parametrize("in_width", THIRDS)
@pytest.mark.parametrize("kind", ["A", "B"])
def test_every_pair_of_maps_is_as_the_table_says(kind: Kind, in_width: int, out_width: int, blocks: int) -> None:
    expected = [[TABLE[kind][out][seen] for seen in groups(in_width)] for out in groups(out_width) * blocks]
    assert np.array_equal(colour_mask(kind, blocks * out_width, in_width, 3, blocks), np.array(expected))


@pytest.mark.parametrize(("kind", "centre"), [("A", 0), ("B", 1)])
@pytest.mark.parametrize("width", [1, 2, 7, 16])
def test_one_group_has_the_centre_off_in_a_and_on_in_b(kind: Kind, centre: int, width: int) -> None:
    assert (colour_mask(kind, width, width, 1) == bool(centre)).all()


SPACE = {  # 1 past, 0 future, c the pixel itself; rows below are cut from the kernels
    (3, 3): "111 1c0",
    (7, 7): "1111111 1111111 1111111 111c000",
    (1, 1): "c",
    (1, 3): "1c0",
    (1, 7): "111c000",
}


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("size", SPACE)
def test_the_past_is_the_rows_above_and_the_row_so_far(size: tuple[int, int], kind: Kind) -> None:
    rows, width = SPACE[size].split(), size[1]
    mask = causal_mask(kind, 7, 3, (len(rows), width), width // 2, 3)
    assert mask.dtype == torch.bool
    assert mask.shape == (7, 3, len(rows), width)
    centre = colour_mask(kind, 7, 3, 3)
    for y, row in enumerate(rows):
        for x, tap in enumerate(row):
            expected = centre if tap == "c" else torch.full((7, 3), tap == "1")
            assert torch.equal(mask[:, :, y, x], expected), f"tap {y}, {x}"


@pytest.mark.parametrize("size", [(2, 3), (4, 7), (1, 5)])
def test_blocks_share_one_mask(size: tuple[int, int]) -> None:
    half = causal_mask("B", 7, 7, size, size[1] // 2, 3)
    assert torch.equal(causal_mask("B", 28, 7, size, size[1] // 2, 3, blocks=4), half.repeat(4, 1, 1, 1))


def hand(layer: CausalConv2d, width: int) -> torch.Tensor:
    """What the layer's kernel holds, as a plain convolution of a row of `width` pixels: (out, width, in, width)."""
    x = torch.eye(layer.in_channels * width).reshape(-1, layer.in_channels, 1, width)
    weight = layer.weight if layer.mask is None else layer.weight * layer.mask
    padded = torch.nn.functional.pad(x, (layer.reach.left, layer.reach.right, layer.reach.up, 0))
    answer = torch.nn.functional.conv2d(padded, weight)
    return answer.reshape(layer.in_channels, width, layer.out_channels, width).permute(2, 3, 0, 1)


@pytest.mark.parametrize("row", [True, False])
@pytest.mark.parametrize("kernel", [3, 7])
@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("colours", [1, 3])
@torch.no_grad()
def test_a_layer_sees_in_its_own_row_what_its_mask_says(colours: int, kind: Kind, kernel: int, row: bool) -> None:
    layer = MaskedConv2d(colours, 2 * 7, kernel, kind, groups=colours, blocks=2, row=row)
    table = TABLE[kind] if colours == 3 else [[int(kind == "B")]]
    maps = groups(7) * 2 if colours == 3 else [0] * 14
    sees = hand(layer, 9) != 0
    for out, at, seen, column in np.ndindex(*sees.shape):
        expected = at - kernel // 2 <= column < at or (at == column and table[maps[out]][seen])
        assert bool(sees[out, at, seen, column]) == bool(expected), (out, at, seen, column)


def test_a_masked_kernel_keeps_the_rows_above_and_its_own() -> None:
    layer = MaskedConv2d(3, 7, 7, "A", groups=3)
    assert (layer.kernel_size, layer.reach) == ((4, 7), Reach(3, 0, 3, 3))
    layer = MaskedConv2d(3, 7, 7, "A", groups=3, row=True)
    assert (layer.kernel_size, layer.reach) == ((1, 4), Reach(0, 0, 3, 0))
    layer = MaskedConv2d(1, 7, 7, "A", row=True)  # the pixel itself is hidden from everybody: its tap is cut
    assert (layer.kernel_size, layer.reach) == ((1, 3), Reach(0, 0, 3, -1))


def test_a_pointwise_layer_masks_colours_only() -> None:
    assert torch.equal(Pointwise(7, 16, groups=3).mask[:, :, 0, 0], colour_mask("B", 16, 7, 3))
    plain = Pointwise(7, 16)
    assert plain.mask is None or plain.mask.all()


def test_masks_are_no_part_of_the_weights_that_are_saved() -> None:
    assert set(MaskedConv2d(3, 7, 3, "B", groups=3).state_dict()) == {"weight", "bias"}
