"""The recurrence once more, front by front with ordinary PyTorch operations, so that autograd derives its gradients.

It is the second opinion on `Recurrence.sweep`, and what a benchmark can compare it with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence, Tap


def plain_sweep(recurrence: Recurrence, windows: Sequence[Tensor], *, padded: bool = False) -> Tensor:
    """Over a whole image: the windows of the inputs (B, maps, rows, columns) -> the states (B, h, H, W).

    padded: compute whole columns of the skewed image, as the paper's figure has it, and set what lies outside the image
    back to the initial states; else only those rows of a column that are inside.
    """
    maps = [_input_to_state(conv, window) for conv, window in zip(recurrence.inputs, windows, strict=True)]
    gates = sum(maps[1:], maps[0]).permute(2, 3, 0, 1)  # (H, W, B, gates * h)
    if all(tap.down for tap in recurrence.taps):
        return _rows(recurrence, gates).permute(2, 3, 0, 1)
    if recurrence.mirrored:
        return _diagonals(recurrence, gates.flip(1), padded).flip(1).permute(2, 3, 0, 1)
    return _diagonals(recurrence, gates, padded).permute(2, 3, 0, 1)


def _input_to_state(conv: torch.nn.Module, window: Tensor) -> Tensor:
    return F.conv2d(window, conv.weight if conv.mask is None else conv.weight * conv.mask, conv.bias)


def _cell(recurrence: Recurrence, gates: Tensor, cells: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    output_gate, *forget_gates, input_gate, candidate = gates.split(recurrence.width, 2)
    c = torch.sigmoid(input_gate) * torch.tanh(candidate)
    for forget_gate, cell in zip(forget_gates, cells, strict=True):
        c = c + torch.sigmoid(forget_gate) * cell
    o = torch.sigmoid(output_gate)
    return (torch.tanh(o * c) if recurrence.product else o * torch.tanh(c)), c


def _state_to_state(recurrence: Recurrence, gates: Tensor, reads: list[Tensor]) -> Tensor:
    """What a front (n, B, gates * h) gets from its inputs, and from the states that it reads."""
    read = torch.cat(reads, 2).flatten(0, 1)
    return torch.addmm(gates.flatten(0, 1), read, recurrence.weight.t()).view_as(gates)


def _rows(recurrence: Recurrence, gates: Tensor) -> Tensor:
    """Row by row: input maps (H, W, B, gates * h) -> states (H, W, B, h)."""
    _, width, batch, _ = gates.shape
    margin = max(abs(tap.right) for tap in recurrence.taps)
    start_h, start_c = (start.expand(1, batch, -1) for start in (recurrence.start_h, recurrence.start_c))
    border_h, border_c = (start.expand(margin, -1, -1) for start in (start_h, start_c))
    h, c = (start.expand(width, -1, -1) for start in (start_h, start_c))
    rows = []
    for row in gates.unbind(0):
        wide_h, wide_c = torch.cat([border_h, h, border_h]), torch.cat([border_c, c, border_c])
        reads, cells = (
            [wide.narrow(0, margin + tap.right, width) for tap in taps]
            for wide, taps in [(wide_h, recurrence.taps), (wide_c, recurrence.carried)]
        )
        h, c = _cell(recurrence, _state_to_state(recurrence, row, reads), cells)
        rows.append(h)
    return torch.stack(rows)


def _diagonals(recurrence: Recurrence, gates: Tensor, padded: bool) -> Tensor:
    """Column by column of the skewed image, rightward: input maps (H, W, B, gates * h) -> states (H, W, B, h)."""
    height, width, batch, _ = gates.shape
    sign = -1 if recurrence.mirrored else 1
    taps, carried = (
        [Tap(down, sign * right) for down, right in each] for each in (recurrence.taps, recurrence.carried)
    )
    start_h, start_c = (start.expand(1, batch, -1) for start in (recurrence.start_h, recurrence.start_c))
    h, c = (start.expand(height if padded else 0, -1, -1) for start in (start_h, start_c))
    columns = []
    for t, column in enumerate(_skew(gates)):
        first, last = max(0, t - width + 1), min(height - 1, t)
        if padded:
            long_h, long_c = torch.cat([start_h, h]), torch.cat([start_c, c])
            reads, cells = (
                [{LEFT: long[1:], ABOVE: long[:-1]}[tap] for tap in each]
                for long, each in [(long_h, taps), (long_c, carried)]
            )
            h, c = _cell(recurrence, _state_to_state(recurrence, column, reads), cells)
            inside = torch.zeros(height, 1, 1, dtype=torch.bool)
            inside[first : last + 1] = True
            h, c = torch.where(inside, h, start_h), torch.where(inside, c, start_c)
            columns.append(h)
            continue
        # The rows first - 1 to last of the column before: outside the image are the one on top, and the one of row t.
        top, bottom = first == 0, last == t
        long_h = torch.cat([start_h] * top + [h] + [start_h] * bottom)
        long_c = torch.cat([start_c] * top + [c] + [start_c] * bottom)
        reads, cells = (
            [{LEFT: long[1:], ABOVE: long[:-1]}[tap] for tap in each]
            for long, each in [(long_h, taps), (long_c, carried)]
        )
        h, c = _cell(recurrence, _state_to_state(recurrence, column[first : last + 1], reads), cells)
        columns.append(F.pad(h, (0, 0, 0, 0, first, height - 1 - last)))
    return _unskew(torch.stack(columns), width)


def _skew(image: Tensor) -> tuple[Tensor, ...]:
    """Row r is moved right by r: the columns (H, ...) of the skewed image (H, W + H - 1, ...) of (H, W, ...)."""
    height, width = image.shape[:2]
    flat = torch.cat([image, image.new_zeros(height, height, *image.shape[2:])], 1).flatten(0, 1)
    skewed = flat[: height * (width + height - 1)].unflatten(0, (height, width + height - 1))
    return skewed.transpose(0, 1).contiguous().unbind(0)


def _unskew(columns: Tensor, width: int) -> Tensor:
    """Back again: columns (W + H - 1, H, ...) -> (H, W, ...)."""
    height = columns.shape[1]
    flat = columns.transpose(0, 1).flatten(0, 1)
    flat = torch.cat([flat, flat.new_zeros(height, *flat.shape[1:])])
    return flat.unflatten(0, (height, width + height))[:, :width]
