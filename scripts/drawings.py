"""The drawings of docs/masks.md, of the masks and networks themselves: python scripts/drawings.py docs/images"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import pixelrnn
from pixelrnn.layers.masks import causal_mask, colour_mask
from pixelrnn.measure.inspection import draw_fields

SEEN, HIDDEN, PIXEL = "#2e4057", "#e8e8e8", "#d1495b"


def masks(path: Path) -> None:
    """Masks A and B of a 5 x 5 kernel, and which colours of the pixel itself they let through."""
    figure = Figure(figsize=(9, 2.9), dpi=110, layout="constrained")
    spatial_a, spatial_b, colours_a, colours_b = figure.subplots(1, 4)
    for axes, kind in ((spatial_a, "A"), (spatial_b, "B")):
        kernel = torch.zeros(5, 5)
        kernel[:3] = causal_mask(kind, 1, 1, (3, 5), 2, groups=1)[0, 0]
        grid(axes, kernel)
        axes.add_patch(Rectangle((2, 2), 1, 1, fill=False, edgecolor=PIXEL, linewidth=3))
        axes.set(xticks=[], yticks=[], title=f"mask {kind}, 5 x 5")
    for axes, kind in ((colours_a, "A"), (colours_b, "B")):
        grid(axes, colour_mask(kind, 3, 3, groups=3).float())
        axes.set(xlabel="reads", ylabel="maps of", title=f"mask {kind}, its colours")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([0.5, 1.5, 2.5], ["R", "G", "B"])
    figure.savefig(path)


def grid(axes: Axes, cells: torch.Tensor) -> None:
    axes.pcolormesh(cells.numpy(), cmap=ListedColormap([HIDDEN, SEEN]), vmin=0, vmax=1, edgecolors="white", linewidth=2)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.set_aspect("equal")


def blind_spot(path: Path) -> None:
    """What a pixel sees through five 3 x 3 kernels: PixelCNN and Gated PixelCNN."""
    models = [
        pixelrnn.build(name, size=(9, 13), levels=2, layers=layers, width=8, kernel=3, first_kernel=3)
        for name, layers in (("pixelcnn", 4), ("gated-pixelcnn", 5))
    ]
    draw_fields(models, path, pixel=(6, 6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    masks(folder / "masks.png")
    blind_spot(folder / "blind-spot.png")


if __name__ == "__main__":
    main()
