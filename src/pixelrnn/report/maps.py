"""Images beside maps of how strange their pixels are, on one scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from pixelrnn.data import save_picture
from pixelrnn.measure.scores import averaged
from pixelrnn.report.sheets import in_bytes

_ROWS = 4  # pairs of image and map in a column, at most


class Map(NamedTuple):
    """The name of an image, the image (C, H, W) and the score of each of its pixels (H, W)."""

    name: str
    image: Tensor
    scores: Tensor


def save_maps(shown: list[Map], path: Path, levels: int, kind: str, *, smooth: int = 1) -> None:
    """Draw each image beside its map, in bits per dimension; a colour bar shows the scale, which is the same for all.

    Arguments: smooth, an odd number: maps are averaged over so many pixels in both directions

    Raises: DataError if the picture cannot be written
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    columns = -(-len(shown) // _ROWS)
    rows = -(-len(shown) // columns)
    width, height = _panel(shown, columns)
    figure = Figure(figsize=(2 * width * columns + 0.8, (height + 0.2) * rows + 0.3), dpi=_DPI, layout="constrained")
    panels = figure.subplots(rows, 2 * columns, squeeze=False)
    drawn_maps = [averaged(strange[None], smooth)[0].numpy() for _, _, strange in shown]
    every = np.concatenate([each.ravel() for each in drawn_maps])
    low, high = float(np.quantile(every, 0.002)), float(np.quantile(every, 0.998))
    if kind == "ratio":  # on either side of 0
        low, high = -max(-low, high), max(-low, high)
    drawn: Any = None
    for axes in panels.flat:
        axes.set_axis_off()
    for index, (name, image, strange) in enumerate(shown):
        row, column = index // columns, 2 * (index % columns)
        pixels = in_bytes(image[None], levels)[0].permute(1, 2, 0).numpy().astype(np.uint8)
        if pixels.shape[2] != 3:  # the mean of channels that are no colours
            pixels = pixels.mean(2, keepdims=True).round().astype(np.uint8).repeat(3, 2)
        panels[row, column].imshow(pixels, interpolation="nearest")
        panels[row, column].set_title(_short(name), fontsize=8)
        drawn = panels[row, column + 1].imshow(
            drawn_maps[index],
            vmin=low,
            vmax=high,
            cmap="RdBu_r" if kind == "ratio" else "inferno",
            interpolation="nearest",
        )
        panels[row, column + 1].set_title(f"{strange.mean():.3f}", fontsize=8)
    bar = figure.colorbar(drawn, ax=panels, shrink=0.8)
    bar.set_label("bits per dimension" if kind == "bits" else f"{kind}, bits per dimension")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    save_picture(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()), path)


def _panel(shown: list[Map], columns: int) -> tuple[float, float]:
    """Width and height of a panel in inches: a pixel of large images is a pixel of the sheet, as far as that fits."""
    height, width = (max(image.shape[axis] for _, image, _ in shown) for axis in (1, 2))
    scale = min(max(2.2 / max(height, width), 1 / _DPI), _WIDEST / (2 * columns * width))
    return max(2.2, scale * width), max(2.2, scale * height)


_DPI, _WIDEST = 110, 24  # pixels an inch; inches


def _short(name: str) -> str:
    return name if len(name) < 28 else f"...{name[-24:]}"
