"""Train the model `photo` for natural photographs: random crops with the margin that the network reads, turned over.

    python scripts/train_photo.py PICTURES... --out runs/photo --minutes 10 [--begin runs/earlier] [--device cuda]

A local PixelCNN with one logistic mixture for each colour, green first; with --gray for gray pictures. Its likelihood
is that of the middle of a crop, so that the edge of a crop is no edge of a picture; pictures have a margin of the
padding's gray, as in a model. `--valid PICTURE` reports bits/dim now and then, and chooses nothing.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import pixelrnn
from pixelrnn.canvas import Whole
from pixelrnn.data import read_picture
from pixelrnn.model import PixelModel
from pixelrnn.training.optimizers import optimizer_of
from pixelrnn.training.presets import TrainingSettings

CROP = 32


class Crops:
    """Random crops (n, C, CROP + 2 side, CROP + 2 side) of pictures, on a device, in one of eight positions."""

    def __init__(self, pictures: list[Tensor], side: int, device: str) -> None:
        padded = [F.pad(each.float() / 127.5 - 1, (side,) * 4) for each in pictures]
        self.heights, self.widths = (
            torch.tensor([each.shape[axis] for each in padded], device=device) for axis in (1, 2)
        )
        sizes = self.heights * self.widths
        self.begins, self.size = sizes.cumsum(0) - sizes, CROP + 2 * side
        self.all = torch.cat([each.flatten(1) for each in padded], 1).to(device)
        self.share = sizes / sizes.sum()

    def draw(self, n: int) -> Tensor:
        some, steps = (
            torch.multinomial(self.share, n, replacement=True),
            torch.arange(self.size, device=self.all.device),
        )
        top, left = (
            (torch.rand(n, device=self.all.device) * (each[some] - self.size + 1)).long()
            for each in (self.heights, self.widths)
        )
        rows = (top[:, None] + steps) * self.widths[some, None]
        places = self.begins[some, None, None] + rows[:, :, None] + (left[:, None] + steps)[:, None]
        crops = self.all[:, places.flatten()].view(-1, n, self.size, self.size).movedim(0, 1)
        turns = int(torch.randint(8, ()))
        crops = crops.flip(2) if turns & 1 else crops
        crops = crops.flip(3) if turns & 2 else crops
        return crops.transpose(2, 3) if turns & 4 else crops


def bits(model: PixelModel, crops: Tensor) -> Tensor:
    """Bits/dim of the middle of crops in -1..1."""
    side, crops = model.network.side, model.in_order(crops)
    seen = crops[:, :, :-side] if side else crops
    with torch.autocast(seen.device.type, torch.bfloat16):
        params = model.network(Whole(seen))[:, :, side:, side:-side]
    levels = ((seen[:, :, side:, side:-side] + 1) * 127.5).round()
    return -model.head.log_prob(params.float(), levels).mean() / math.log(2)


@torch.no_grad()
def bits_of_picture(model: PixelModel, picture: Tensor) -> float:
    """Bits/dim of a picture (C, H, W), strip by strip."""
    side, total = model.network.side, 0.0
    for top in range(0, picture.shape[1], 64):
        above = min(side, top)
        strip = picture[None, :, top - above : top + 64].to(model.device)
        total -= float(model.log_prob(strip, reduce=False)[:, :, above:].double().sum())
    return total / picture.numel() / math.log(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--begin", type=Path, help="a model to go on from")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--valid", type=Path, nargs="*", default=[])
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--kernel", type=int, default=7)
    parser.add_argument("--components", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--crops", type=int, default=64, help="of 32 x 32 pixels, in a step")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    if options.begin:
        model = pixelrnn.load(options.begin)
    else:
        shape = {"layers": options.layers, "width": options.width, "kernel": options.kernel}
        small = {"block_layers": 2, "out_layers": 1, "linear": True, "components": options.components, "masked": True}
        colours = {"channels": 1} if options.gray else {"channels": 3, "colour_order": [1, 0, 2]}
        model = pixelrnn.build("local-pixelcnn", size=(32, 32), levels=256, **shape, **small, **colours)
    model = model.to(options.device, memory_format=torch.channels_last).train()
    read = [torch.from_numpy(read_picture(each, channels=model.channels)) for each in options.pictures]
    valid = [torch.from_numpy(read_picture(each, channels=model.channels)) for each in options.valid]
    crops = Crops(read, model.network.side, options.device)
    optimizer = optimizer_of(model, TrainingSettings(optimizer="muon", learning_rate=options.rate, weight_decay=0.01))
    began, step, said = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - began) / (60 * options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = options.rate * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * share))
        loss = bits(model, crops.draw(options.crops))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if share >= said:
            found = [round(bits_of_picture(model, each), 4) for each in valid]
            print(f"{share:4.0%}  step {step}  crops {loss.item():.4f}  pictures {found}", flush=True)
            model.save(options.out)
            said += 0.1
    pictures = [round(bits_of_picture(model, each), 4) for each in read + valid]
    model.about = {"trained_on": [each.name for each in options.pictures], "bits_per_dim": pictures}
    model.save(options.out)
    print(f"{step} steps; bits/dim {pictures}")


if __name__ == "__main__":
    main()
