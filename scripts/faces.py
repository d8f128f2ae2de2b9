"""The faces of docs/conditions.md, between two people in each row: python scripts/faces.py docs/images [MODEL]

The first two rows go between people of the training split, the third between two whom neither encoder nor network has
seen. Needs orl_faces.npz, as the preset `faces` does; no photograph is drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import pixelrnn
from pixelrnn.data import Levels, save_picture
from pixelrnn.model import PixelModel
from pixelrnn.report.sheets import in_bytes, interpolations, sheet_of_rows
from pixelrnn.training.prepare import load_for
from pixelrnn.training.presets import load_preset

PAIRS = (("train", 0, 1), ("train", 2, 3), ("test", 32, 33))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", nargs="?", default="faces")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--guidance", type=float, default=1.5)
    options = parser.parse_args()
    model = pixelrnn.load(options.model)
    rows = torch.cat(
        [
            interpolations(
                model,
                photographs(model, *pair),
                8,
                1,
                temperature=options.temperature,
                guidance=options.guidance,
            )
            for pair in PAIRS
        ]
    )
    save_picture(sheet_of_rows([in_bytes(rows, model.levels)]), options.folder / "faces-interpolation.png")


def photographs(model: PixelModel, split: str, *people: int) -> torch.Tensor:
    """The first photograph of each person, as the model sees it: (people, 1, H, W)."""
    data = load_for(load_preset("faces"), split)
    assert data.labels is not None
    where = [int((data.labels == person).argmax()) for person in people]
    return torch.from_numpy(Levels(data.values, model.levels, None).fixed(data.images[where]))


if __name__ == "__main__":
    main()
