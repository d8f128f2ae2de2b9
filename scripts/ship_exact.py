"""Add a model to the package in whole numbers, and measure it by the files that it makes.

    python scripts/ship_exact.py runs/photo photo "Photographs of any size, RGB" --pictures ../kodak/kodim*.png
    python scripts/ship_exact.py runs/photo-gray photo-gray "Gray photographs" --pictures ../kodak/kodim*.png
    python scripts/ship_exact.py runs/cifar10-local cifar10-local "CIFAR-10" --data cifar10

The pictures are those of the training, the choice and the test, in this order; the first also decide how to round, or
the first images of a data set's validation split. Exits with status 1 and changes nothing if the file would be too
large, or rounding would cost too much.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pixelrnn
from pixelrnn.data import load_data
from pixelrnn.data.decode import decode_exactly
from pixelrnn.model import PixelModel

WEIGHTS = Path(pixelrnn.__file__).parent / "weights"
LARGEST, MOST = 2_000_000, 1.005  # the largest file in bytes, the most that rounding may cost
HOW = "for pixelrnn compress; a local PixelCNN in whole numbers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("summary", help="what it is for, for `pixelrnn list weights`")
    parser.add_argument("--pictures", nargs="*", type=Path, default=[])
    parser.add_argument("--data")
    options = parser.parse_args()
    model = pixelrnn.load(options.run)
    if options.data:
        images = torch.from_numpy(np.ascontiguousarray(load_data(options.data, "valid").images))
        measured, some = {f"{options.data}, validation": images}, images[:100]
        trained = f"{options.data}, training"
    else:
        measured = {path.stem: read(path, model.channels)[None] for path in options.pictures}
        some = torch.cat([each[:, :, 100:228, 100:228] for each in list(measured.values())[:9]])
        trained = ", ".join(model.about["trained_on"])
    exact = model.quantised(some)
    with torch.no_grad():
        before, after = (float(each.bits_per_dim(some).mean()) for each in (model, exact))
    if after > MOST * before:
        sys.exit(f"not shipped: {before:.4f} bits/dim become {after:.4f}")
    found = {name: round(bits(exact, each), 4) for name, each in measured.items()}
    exact.about = {"summary": f"{options.summary}: {HOW}", "bits_per_dim": found, "trained_on": trained}
    with tempfile.TemporaryDirectory() as scratch:
        exact.save(scratch, "temporary")
        size = (Path(scratch) / "model.safetensors").stat().st_size
    if size > LARGEST:
        sys.exit(f"not shipped: {size:,} bytes, more than {LARGEST:,}")
    folder = WEIGHTS / options.name
    exact.save(folder, card(options.name, exact))
    print(f"{folder}  {size:,} bytes   {before:.4f} bits/dim before, {after:.4f} after   {found}")


def read(path: Path, channels: int) -> torch.Tensor:
    """The pixels of a picture, gray if there is one channel: (C, H, W)."""
    if channels == 1:
        with Image.open(path) as picture:
            return torch.from_numpy(np.asarray(picture.convert("L")))[None]
    return torch.from_numpy(decode_exactly(path))


def bits(model: PixelModel, images: torch.Tensor) -> float:
    """Bits/dim of images (N, C, H, W) of one size in a file."""
    return 8 * len(model.compress(images, verify=False)) / images.numel()


def card(name: str, model: PixelModel) -> str:
    """The model card."""
    settings = ", ".join(f"{key} = {value}" for key, value in model.config["options"].items() if "condition" not in key)
    rows = "\n".join(f"| {what} | {each:.4f} |" for what, each in model.about["bits_per_dim"].items())
    return (
        f"# {name}\n\n{model.about['summary']}\n\n| what | value |\n|---|---|\n"
        f"| network | {model.config['network']}: {settings} |\n| head | {model.config['head']} |\n"
        f"| parameters | {model.num_parameters:,} |\n| trained on | {model.about['trained_on']} |\n\n"
        f"Bits/dim of whole files:\n\n| images | bits/dim |\n|---|---|\n{rows}\n\n"
        f"Use it:\n\n    pixelrnn compress PICTURES -o pictures.prnn --model {name}\n"
        "    pixelrnn decompress pictures.prnn -o back\n\nSee docs/codec.md.\n"
    )


if __name__ == "__main__":
    main()
