"""A transformer with a token for each pixel, or for each colour of each pixel: which learns more in the same time?

    python benchmarks/colour_tokens.py --minutes 10 [--runs runs/tokens]

Both are `pixel-transformer` of the same size on CIFAR-10. The second one sees an image of 32 x 32 pixels as one of 32 x
96, whose columns are red, green and blue in turn, so it attends to three times as many tokens, and to earlier colours
of a pixel as to anything else; the first one sees these only behind its blocks, by the head.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from common import timed
from torch import Tensor

import pixelrnn
from pixelrnn.data import Levels, load_data

TRAINING = {
    "optimizer": "muon",
    "learning_rate": 2e-3,
    "weight_decay": 0.01,
    "batch_size": 16,
    "ema": 0.998,
    "epochs": 100,
}
OPTIONS = {"layers": 4, "width": 96, "heads": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15, help="of training for each")
    parser.add_argument("--runs", type=Path, default=Path("runs/tokens"))
    parser.add_argument("--levels", type=int, default=256)
    parser.add_argument("--valid", type=int, default=500, help="validation images")
    options = parser.parse_args()
    train, valid = (levels_of(split, options.levels) for split in ("train", "valid"))
    for line in (
        "| a token for each | tokens | parameters | images seen | bits/dim, validation | seconds for 16 samples |",
        "|---|---|---|---|---|---|",
    ):
        print(line)
    for name, arranged in (("pixel", lambda images: images), ("colour", in_columns)):
        images = arranged(train[:1])
        model = pixelrnn.build(
            "pixel-transformer",
            size=tuple(images.shape[2:]),
            channels=images.shape[1],
            levels=options.levels,
            head="logistic-mixture",
            components=5,
            **OPTIONS,
        )
        pixelrnn.train(
            model,
            arranged(train),
            arranged(valid[: options.valid]),
            out=options.runs / name,
            max_minutes=options.minutes,
            overwrite=True,
            bar=True,
            **TRAINING,
        )
        progress = model.about["progress"]
        bits = progress["valid_nats"] / (train[0].numel() * math.log(2))
        model.sample(16, seed=0)  # so that kernels are compiled and the faster way is known
        seconds = timed(lambda model=model: model.sample(16, seed=0))
        tokens = images.shape[2] * images.shape[3]
        line = (
            f"| {name} | {tokens:,} | {model.num_parameters:,} | {progress['images']:,} | {bits:.3f} | {seconds:.1f} |"
        )
        print(line, flush=True)


def levels_of(split: str, levels: int) -> Tensor:
    """The images of CIFAR-10, (N, 3, 32, 32), with so many levels."""
    data = load_data("cifar10", split)
    return torch.from_numpy(np.array(Levels(data.values, levels, None).fixed(data.images)))


def in_columns(images: Tensor) -> Tensor:
    """(N, 3, H, W) as (N, 1, H, 3 W): the colours of a pixel are neighbouring columns."""
    return images.permute(0, 2, 3, 1).flatten(2)[:, None].contiguous()


if __name__ == "__main__":
    main()
