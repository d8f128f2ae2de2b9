"""Add the model for photographs to the package, in whole numbers, and measure it on whole pictures.

    python scripts/ship_photo.py runs/photo --pictures ../kodak/kodim*.png [--name photo]

The pictures are those of the training, the choice and the test, in this order; the first also decide how to round.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

import pixelrnn
from pixelrnn.data.decode import decode_exactly
from pixelrnn.model import PixelModel

WEIGHTS = Path(pixelrnn.__file__).parent / "weights"
LARGEST, MOST = 2_000_000, 1.005  # the largest file in bytes, the most that rounding may cost
SUMMARY = "Photographs of any size, RGB: for pixelrnn compress; a local PixelCNN in whole numbers"


@torch.inference_mode()
def bits(model: PixelModel, picture: torch.Tensor) -> float:
    """Bits/dim of a picture (3, H, W), by a compressed file without its head."""
    return 8 * len(model.compress(picture[None], verify=False)) / picture.numel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", nargs="+", type=Path, required=True)
    parser.add_argument("--name", default="photo")
    options = parser.parse_args()
    model = pixelrnn.load(options.run)
    pictures = [torch.from_numpy(decode_exactly(path)) for path in options.pictures]
    some = torch.cat([each[None, :, 100:228, 100:228] for each in pictures[:9]])
    exact = model.quantised(some)
    before, after = (float(each.bits_per_dim(some).mean().detach()) for each in (model, exact))
    if after > MOST * before:
        sys.exit(f"not shipped: {before:.4f} bits/dim become {after:.4f}")
    found = {path.stem: round(bits(exact, each), 4) for path, each in zip(options.pictures, pictures, strict=True)}
    exact.about = {"summary": SUMMARY, "bits_per_dim": found, "trained_on": model.about.get("trained_on", [])}
    folder = WEIGHTS / options.name
    exact.save(folder, _card(options.name, exact, found))
    size = (folder / "model.safetensors").stat().st_size
    print(f"{folder}  {size:,} bytes   {before:.4f} bits/dim before, {after:.4f} after   {found}")
    if size > LARGEST:
        sys.exit(f"it has more than {LARGEST:,} bytes")


def _card(name: str, model: PixelModel, found: dict[str, float]) -> str:
    settings = ", ".join(f"{key} = {value}" for key, value in model.config["options"].items() if "condition" not in key)
    trained = ", ".join(model.about["trained_on"])
    rows = "\n".join(f"| {picture} | {each:.4f} |" for picture, each in found.items())
    return (
        f"# {name}\n\n{SUMMARY}\n\n| what | value |\n|---|---|\n| network | {model.config['network']}: {settings} |\n"
        f"| head | {model.config['head']} |\n| parameters | {model.num_parameters:,} |\n| trained on | {trained} |\n\n"
        f"Bits/dim of whole pictures, compressed:\n\n| picture | bits/dim |\n|---|---|\n{rows}\n\n"
        "Use it:\n\n    pixelrnn compress PICTURES -o pictures.prnn\n    pixelrnn decompress pictures.prnn -o back\n\n"
        "See docs/codec.md.\n"
    )


if __name__ == "__main__":
    main()
