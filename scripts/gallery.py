"""docs/gallery.md: every network trained for the same time on the same digits: samples, receptive field, walk.

    python scripts/gallery.py [--minutes 1.5] [--models runs/gallery] [--out docs]

A model that is in the folder already is not trained again.
"""

from __future__ import annotations

import argparse
import inspect
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch

import pixelrnn
from pixelrnn.data import load_data
from pixelrnn.measure.evaluation import evaluate
from pixelrnn.measure.inspection import seen_by
from pixelrnn.networks import NETWORKS, options_of
from pixelrnn.sampling.settings import SamplingSettings

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

PIXEL, SEEN, UNSEEN, FUTURE = "#d1495b", "#2e4057", "#edae49", "#e8e8e8"
OPTIONS = {
    "pixelcnn": "layers=6 width=32 kernel=3 first_kernel=5",
    "gated-pixelcnn": "layers=5 width=32 kernel=3 first_kernel=5",
    "row-lstm": "layers=3 width=32 first_kernel=5",
    "diagonal-bilstm": "layers=3 width=32 first_kernel=5",
    "multiscale": "layers=3 width=32 first_kernel=5",
    "mdlstm": "layers=3 width=32 first_kernel=5",
    "spatial-lstm": "layers=1 width=32 kernel=5",
    "mcgsm": "kernel=7 features=32 components=16",
    "local-pixelcnn": "layers=2 width=64 kernel=5",
    "pixel-transformer": "layers=3 width=64 heads=2",
    "pixelcnn-pp": "layers=1 width=24 resolutions=2",
    "pixelsnail": "layers=1 width=32 blocks=2",
    "lmconv": "layers=1 width=24 blocks=2",
}
INTRODUCTION = """\
Written by `python scripts/gallery.py`. Every network was trained for {minutes:g} minutes on two CPU threads, on the
8 x 8 digits of scikit-learn with 17 levels (1,297 images, the epoch chosen on 200). Samples have seed 0; the nats are
those of the 300 test images. The networks are small and the time is short, so this is no ranking: [results](results.md)
has that.

In the middle, what the red pixel depends on, measured by gradients (dark: seen; yellow: earlier, not seen; light:
later). On the right, the walk on PyTorch with a span of a row: the pass of the network after which each pixel is final.
Where guesses are right, several become final at once ([performance](performance.md))."""
SHARED = "optimizer=muon weight_decay=0.01 batch_size=16 ema=0.99 precision=32"


def command(network: str, folder: Path, minutes: float) -> list[str]:
    changes = [f"network={network}", *OPTIONS[network].split(), *SHARED.split()]
    changes += ["dropout=0"] if "dropout" in options_of(network) else []
    sets = [word for change in changes for word in ("--set", change)]
    return ["pixelrnn", "train", "digits", "--out", str(folder), "--max-minutes", f"{minutes:g}", *sets]


def picture(model: pixelrnn.PixelModel, path: Path) -> None:
    """Samples; the receptive field of a pixel; the pass of the network in which each pixel became final."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8.4, 2.9), dpi=100, layout="constrained")
    images = model.sample(24, seed=0)[:, 0].numpy()
    cells = np.pad(images, ((0, 0), (0, 1), (0, 1)), constant_values=6).reshape(4, 6, 9, 9)
    left.imshow(cells.swapaxes(1, 2).reshape(36, 54), cmap="gray", interpolation="nearest")
    left.set_title("samples")
    height, width = model.size
    row, column = 5, 4
    ranks = model.network.order(height, width).ranks
    kind = torch.where(ranks > ranks[row, column], 3, torch.where(seen_by(model, row, column, model.size), 1, 2))
    kind[row, column] = 0
    colours = ListedColormap([PIXEL, SEEN, UNSEEN, FUTURE])
    middle.imshow(kind.numpy(), cmap=colours, vmin=-0.5, vmax=3.5)
    middle.set_title("what the red pixel sees")
    passes, count = final_in(model)
    right.imshow(passes, cmap="viridis")
    right.set_title(f"{height * width} pixels in {count} passes")
    for place in np.ndindex(passes.shape):
        right.text(place[1], place[0], int(passes[place]), ha="center", va="center", fontsize=6, color="white")
    for axes in (left, middle, right):
        bare(axes)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])


def final_in(model: pixelrnn.PixelModel) -> tuple[np.ndarray, int]:
    """The pass on PyTorch after which each pixel of one image was final, (H, W), and how many passes there were."""
    image = torch.zeros(1, 1, *model.size, dtype=torch.uint8)
    found = np.zeros(model.size[0] * model.size[1], int)
    count = 0
    for event in model.generate(image, None, SamplingSettings(seed=1, method="cached", span=model.size[1])):
        count += 1
        found[event.where.numpy()[np.nonzero(event.final[0])[0]]] = count
    return found.reshape(model.size), count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.5, help="of training for each model that is not there")
    parser.add_argument("--models", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    (options.out / "images" / "gallery").mkdir(parents=True, exist_ok=True)
    lines = [
        "# Gallery",
        "",
        *INTRODUCTION.format(minutes=options.minutes).splitlines(),
        "",
    ]
    for network in OPTIONS:
        folder = options.models / network
        train = command(network, folder, options.minutes)
        if not (folder / "config.json").is_file():
            subprocess.run([str(Path(sys.executable).parent / train[0]), *train[1:]], check=True)
        model = pixelrnn.load(folder)
        picture(model, options.out / "images" / "gallery" / f"{network}.png")
        found = evaluate(model, load_data("digits", "test"))
        said = " ".join((inspect.getdoc(NETWORKS[network]) or "").split("\n\n")[0].split())
        lines += [
            f"## {network}",
            "",
            said,
            "",
            f"![Samples, receptive field and walk of {network}](images/gallery/{network}.png)",
            "",
            f"{model.num_parameters:,} parameters, {found.nats:.1f} +- {found.standard_error:.1f} nats.",
            "",
            f"    {shlex.join(train)}",
            "",
        ]
        print(network, f"{found.nats:.2f}", flush=True)
    (options.out / "gallery.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
