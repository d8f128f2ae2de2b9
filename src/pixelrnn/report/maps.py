"""Images beside maps of how strange their pixels are, on one scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from pixelrnn.data import save_picture
from pixelrnn.report.sheets import in_bytes

_ROWS = 4  # pairs of image and map in a column, at most


class Map(NamedTuple):
    """The name of an image, the image (C, H, W) and the score of each of its pixels (H, W)."""

    name: str
    image: Tensor
    scores: Tensor


def save_maps(shown: list[Map], path: Path, levels: int, kind: str) -> None:
    """Draw each image beside its map, in bits per dimension; a colour bar shows the scale, which is the same for all.

    Raises: DataError if the picture cannot be written
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    columns = -(-len(shown) // _ROWS)
    rows = -(-len(shown) // columns)
    wide = max(image.shape[2] for _, image, _ in shown) / max(image.shape[1] for _, image, _ in shown)
    # Of large images a pixel is a pixel, as far as the sheet stays below some thousand of them.
    side = min(max(2.2, max(image.shape[2] for _, image, _ in shown) / 110), 24 / (2 * columns))
    high = side / wide if side > 2.2 else 2.2
    figure = Figure(figsize=(2 * side * columns + 0.8, (high + 0.2) * rows + 0.3), dpi=110, layout="constrained")
    panels = figure.subplots(rows, 2 * columns, squeeze=False)
    every = np.concatenate([strange.numpy().ravel() for _, _, strange in shown])
    low, most = float(np.quantile(every, 0.002)), float(np.quantile(every, 0.998))
    if kind == "ratio":  # on either side of 0
        low, most = -max(-low, most), max(-low, most)
    drawn: Any = None
    for axes in panels.flat:
        axes.set_axis_off()
    for index, (name, image, strange) in enumerate(shown):
        row, column = index // columns, 2 * (index % columns)
        pixels = in_bytes(image[None], levels)[0].permute(1, 2, 0).numpy().astype(np.uint8)
        panels[row, column].imshow(pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels, interpolation="nearest")
        panels[row, column].set_title(_short(name), fontsize=8)
        drawn = panels[row, column + 1].imshow(
            strange.numpy(),
            vmin=low,
            vmax=most,
            cmap="RdBu_r" if kind == "ratio" else "inferno",
            interpolation="nearest",
        )
        panels[row, column + 1].set_title(f"{strange.mean():.3f}", fontsize=8)
    bar = figure.colorbar(drawn, ax=panels, shrink=0.8)
    bar.set_label("bits per dimension" if kind == "bits" else f"{kind}, bits per dimension")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    save_picture(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()), path)


def _short(name: str) -> str:
    return name if len(name) < 28 else f"...{name[-24:]}"
