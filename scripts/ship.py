"""Add a trained model to the package with 16-bit weights, and evaluate it before and after the conversion.

    python scripts/ship.py runs/mnist-gated-class mnist "class-conditional digits 0 to 9: binary, 28 x 28"

Exits with status 1 and changes nothing if the file would be too large, or the likelihood would change too much.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import pixelrnn
from pixelrnn.cli.common import bar
from pixelrnn.data import save_picture
from pixelrnn.measure.evaluation import evaluate, load_like
from pixelrnn.report.sheets import sample_sheet
from pixelrnn.training.card import shipped_card

WEIGHTS = Path(pixelrnn.__file__).parent / "weights"
LARGEST, MOST = 3_000_000, 0.05  # the largest file in bytes, the largest change of the likelihood in nats
MEASURED = 500  # images to evaluate, which a test repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("summary", help="one line for `pixelrnn list weights`")
    parser.add_argument("--split", default="test", help="the split to evaluate on, if test images are not available")
    args = parser.parse_args()
    model, folder = pixelrnn.load(args.run), WEIGHTS / args.name
    data = load_like(model, None, args.split)
    with bar("32 bits") as update:
        before = evaluate(model, data, count=MEASURED, on_batch=update)
    with tempfile.TemporaryDirectory() as scratch:
        model.save(scratch, "temporary", half=True)
        size = (Path(scratch) / "model.safetensors").stat().st_size
        small = pixelrnn.load(scratch)
    with bar("16 bits") as update:
        after = evaluate(small, data, count=MEASURED, on_batch=update)
    if size > LARGEST or abs(after.nats - before.nats) > MOST:
        sys.exit(
            f"not shipped: {size:,} bytes, {after.nats - before.nats:+.3f} nats in 16 bits; at most {LARGEST:,} bytes "
            f"and {MOST} nats"
        )
    model.about["summary"] = args.summary
    model.about["shipped"] = {**dataclasses.asdict(after), "nats_in_32_bits": before.nats}
    model.save(folder, shipped_card(model, args.name), half=True)
    save_picture(sample_sheet(small, data), folder / "samples.png")
    print(
        f"{folder}  {size:,} bytes   {before.nats:.3f} nats in 32 bits, {after.nats:.3f} in 16, {after.images} images"
    )


if __name__ == "__main__":
    main()
