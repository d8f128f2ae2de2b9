"""Sampling, training and evaluation, as ratios of one run on one machine: the table in docs/performance.md.

    python benchmarks/performance.py [--out docs/performance.md] [--models runs/bench] [--minutes 3] [--only sampling]
                                     [--plot docs/images/sampling.png] [--photo photograph.png] [--names MODEL ...]

Sampling is measured with trained weights, as how far a walk on PyTorch can look ahead depends on them: a model that
neither comes with the package nor is in --models is trained first, for so many minutes. The naive sampler runs the
whole network once per pixel and colour: its time is extrapolated from timed passes on the images that were sampled. The
floor is the arithmetic of one whole pass (every weight that no mask hides, once per pixel) at the matrix rate that was
measured in the same process. With a photograph, its right half is completed twice by cifar10-tiny.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from common import (
    MEASURED,
    apart,
    flop_per_pixel,
    matrix_rate,
    median_seconds,
    peak_megabytes,
    timed,
    write_between_marks,
    write_json,
)

import pixelrnn
from pixelrnn.training.memory import keep_freed_memory

# In a few minutes an average over the weights would be that of random ones, with which every guess is right.
SHORT: dict[str, object] = {"ema": 0, "optimizer": "adam", "learning_rate": 2e-3, "batch_size": 8}

# name -> preset and what is set in it
MODELS: dict[str, tuple[str, dict[str, object]]] = {
    "mnist-gated-10x128": (
        "mnist-gated",
        {"layers": 10, "width": 128, "kernel": 3, "batch_size": 16, "learning_rate": 1e-3, "optimizer": "adam"},
    ),
    "mnist-pixelcnn-12x32": ("mnist-pixelcnn", {}),
    "mnist-row-lstm-7x16": ("mnist-row-lstm", {}),
    "cifar10-gated-7x64": ("cifar10-gated", {"width": 64, **SHORT}),
    "cifar10-row-lstm-7x24": ("paper-cifar10-row-lstm", {"layers": 7, "width": 24, "out_width": 192, **SHORT}),
    "cifar10-diagonal-bilstm-7x24": (
        "paper-cifar10-diagonal-bilstm",
        {"layers": 7, "width": 24, "out_width": 192, **SHORT},
    ),
    "cifar10-pixelcnn-pp-3x48": ("cifar10-pixelcnn-pp", {"layers": 3, "width": 48, **SHORT}),
    "mnist-pixelsnail-3x64": ("mnist-pixelsnail", SHORT),
    "mnist-lmconv-1x32": ("mnist-lmconv", SHORT),
}
SHIPPED = ("mnist-diagonal-bilstm", "cifar10-tiny", "mnist-any-order")
BATCHES = (1, 16, 64)
STEPS: list[tuple[str, dict[str, int]]] = [
    ("gated-pixelcnn", {"layers": 8, "width": 64}),
    ("gated-pixelcnn", {"layers": 10, "width": 128}),
    ("pixelcnn", {"layers": 12, "width": 32}),
    ("pixelcnn", {"layers": 12, "width": 128}),
]
SIDES = (16, 28, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the page there, else to standard output")
    parser.add_argument("--models", type=Path, default=Path("runs/bench"))
    parser.add_argument("--minutes", type=float, default=3, help="of training for each model that is not there")
    parser.add_argument("--only", choices=["sampling", "photograph", "steps", "growth"], nargs="+")
    parser.add_argument("--plot", type=Path, help="draw the seconds of one image there")
    parser.add_argument("--names", nargs="+", help="of the models to sample from; all by default")
    parser.add_argument("--photo", type=Path, help="a photograph to complete")
    parser.add_argument("--json", type=Path, help="write the figures there, for programs to read")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        case = json.loads(options.one)
        print(json.dumps(globals()[case.pop("measure")](**case)))
        return
    parts = {
        "sampling": lambda models, minutes: sampling_table(models, minutes, options.plot, options.names),
        "photograph": lambda models, minutes: photograph_table(options.photo),
        "steps": step_table,
        "growth": growth_table,
    }
    wanted = options.only or list(parts)
    threads = torch.get_num_threads()
    lines = [f"*{platform.machine()}, {os.cpu_count()} CPUs, {threads} threads, torch {torch.__version__}.*", ""]
    for name in wanted:
        for line in parts[name](options.models, options.minutes):
            print(line, flush=True)
            lines.append(line)
    if options.json:
        write_json(options.json, MEASURED)
    if options.out:
        write_between_marks(options.out, lines)


def trained(name: str, models: Path, minutes: float) -> Path:
    """The folder of a model, trained first if it is not there."""
    folder, (preset, settings) = models / name, MODELS[name]
    if not (folder / "config.json").is_file():
        changes = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
        command = ["pixelrnn", "train", preset, "--out", str(folder), "--max-minutes", str(minutes), *changes]
        print("training:", *command, file=sys.stderr)
        subprocess.run([str(Path(sys.executable).parent / command[0]), *command[1:]], check=True)
    return folder


# ---- sampling


def sampling_table(models: Path, minutes: float, plot: Path | None, names: list[str] | None) -> list[str]:
    lines = [
        "## Sampling",
        "",
        "| model | images | a whole pass, s | **sampling, compiled, s** | in whole passes | times the floor | "
        "on PyTorch, s | faster | naive, s (extrapolated) | faster than naive |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    one_image: dict[str, tuple[float, float, float]] = {}
    for name in names or [*MODELS, *SHIPPED]:
        folder = name if name in SHIPPED else str(trained(name, models, minutes))
        for images in BATCHES:
            found = apart(__file__, {"measure": "sampling", "folder": folder, "images": images})
            whole, sample, on_pytorch = found["whole"], found["compiled"], found["cached"]
            floor, naive = found["flop"] / found["rate"], whole * found["passes"]
            lines.append(
                f"| {name} | {images} | {whole:.4f} | **{sample:.4f}** | {sample / whole:.2f} | {sample / floor:.1f} | "
                f"{on_pytorch:.2f} | {on_pytorch / sample:.0f}x | {naive:.0f} | **{naive / sample:.0f}x** |"
            )
            if images == 1:
                one_image[name] = floor, sample, on_pytorch
    if plot:
        draw_sampling(one_image, plot)
    return [*lines, ""]


def draw_sampling(seconds: dict[str, tuple[float, float, float]], path: Path) -> None:
    """Seconds of one image: the floor, compiled, and on PyTorch."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for place, (floor, compiled, on_pytorch) in enumerate(seconds.values()):
        axes.plot([floor, on_pytorch], [place, place], color="#c9c9c9", zorder=1)
        for value, colour, name in (
            (floor, "#9a9a9a", "floor: arithmetic alone"),
            (compiled, "#1b7f5c", "compiled"),
            (on_pytorch, "#c2571a", "PyTorch, speculative"),
        ):
            axes.scatter([value], [place], color=colour, zorder=2, label=name if place == 0 else None)
    axes.set(xscale="log", xlabel="seconds for one image, two threads", yticks=range(len(seconds)))
    axes.set_yticklabels(list(seconds))
    axes.invert_yaxis()
    axes.grid(axis="x", which="major", alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


@torch.inference_mode()
def sampling(folder: str, images: int) -> dict[str, float]:
    model = pixelrnn.load(folder)

    def draw(method: str) -> torch.Tensor:
        return model.sample(images, seed=0, batch_size=images, method=method)

    made = draw("compiled")
    return {
        "compiled": median_seconds(lambda: draw("compiled"), 7, 10),
        "cached": median_seconds(lambda: draw("cached"), 3, 5),
        "whole": median_seconds(lambda: model.log_prob(made, check=False), 9, 10),
        "rate": matrix_rate(),
        "passes": model.size[0] * model.size[1] * model.head.groups,
        "flop": images * model.size[0] * model.size[1] * flop_per_pixel(model),
    }


# ---- a photograph


def photograph_table(photo: Path | None) -> list[str]:
    if photo is None:
        return []
    found = apart(__file__, {"measure": "photograph", "path": str(photo)})
    return [
        "## A photograph",
        "",
        f"The right half of a photograph of {found['width']:.0f} x {found['height']:.0f}, two completions by "
        f"cifar10-tiny: **{found['seconds']:.1f} s**, {found['pixels'] / found['seconds']:,.0f} unknown pixels a "
        f"second; {found['megabytes']:.0f} MB more than the loaded model.",
        "",
    ]


def photograph(path: str) -> dict[str, float]:
    import numpy as np
    from PIL import Image

    model = pixelrnn.load("cifar10-tiny")
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).movedim(2, 0)
    height, width = pixels.shape[1:]
    known = torch.arange(width)[None, None] < width // 2
    model.sample(1, size=(4, 4), seed=0, method="compiled")  # the code is loaded
    before = peak_megabytes()
    images = pixels.expand(2, -1, -1, -1)
    seconds = timed(lambda: model.complete(images, known.expand(1, height, width), seed=0))
    return {
        "seconds": seconds,
        "height": height,
        "width": width,
        "pixels": 2 * height * (width - width // 2),
        "megabytes": peak_megabytes() - before,
    }


# ---- a training step and an evaluation


def step_table(models: Path, minutes: float) -> list[str]:
    lines = [
        "## A training step and an evaluation",
        "",
        "64 binary images of 28 x 28; forward, backward, Adam. The recurrent ones: [recurrent.md](recurrent.md).",
        "",
        "| network | layers x width | arithmetic | step, ms | Gflop | **times the floor** | MB | evaluation, ms | "
        "times its floor |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network, options in STEPS:
        for precision in ("float32", "bfloat16"):
            found = apart(__file__, {"measure": "step", "network": network, "options": options, "precision": precision})
            evaluation = (
                f"{1e3 * found['evaluation']:.0f} | {3 * found['evaluation'] * found['rate'] / found['flop']:.1f}"
            )
            lines.append(
                f"| {network} | {options['layers']} x {options['width']} | {precision} | {1e3 * found['step']:.0f} | "
                f"{found['flop'] / 1e9:.0f} | **{found['step'] * found['rate'] / found['flop']:.2f}** | "
                f"{found['megabytes']:.0f} | {evaluation if precision == 'float32' else '|'} |"
            )
    return [*lines, ""]


def step(network: str, options: dict[str, int], precision: str, batch: int = 64, side: int = 28) -> dict[str, float]:
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    model = pixelrnn.build(network, size=(side, side), levels=2, **options).to(memory_format=torch.channels_last)
    images = torch.randint(0, 2, (batch, 1, side, side), dtype=torch.uint8)
    optimizer = torch.optim.Adam(model.parameters())

    def train() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = -model.log_prob(images, check=False).mean()
        loss.backward()
        optimizer.step()

    before = peak_megabytes()
    train()
    megabytes = peak_megabytes() - before
    seconds = median_seconds(train, 9)
    with torch.inference_mode():
        evaluation = median_seconds(lambda: model.log_prob(images, check=False), 9)
    flop = 3 * batch * side**2 * flop_per_pixel(model)
    return {"step": seconds, "evaluation": evaluation, "megabytes": megabytes, "flop": flop, "rate": matrix_rate()}


# ---- growth


def growth_table(models: Path, minutes: float) -> list[str]:
    name = "mnist-gated-10x128"
    folder = trained(name, models, minutes)
    lines = [
        "## Growth with the side of the image",
        "",
        f"{name}, 4 images, compiled; what the walk on PyTorch keeps is counted in numbers.",
        "",
        "| side | pixels | sampling, s | microseconds per pixel | numbers kept by the walk | per column |",
        "|---|---|---|---|---|---|",
    ]
    for side in SIDES:
        found = apart(__file__, {"measure": "growth", "folder": str(folder), "side": side})
        each, kept = 1e6 * found["sample"] / (4 * side**2), found["kept"]
        lines.append(f"| {side} | {side**2} | {found['sample']:.2f} | {each:.0f} | {kept:.0f} | {kept / side:.0f} |")
    return [*lines, ""]


def growth(folder: str, side: int) -> dict[str, float]:
    from pixelrnn.canvas import Incremental

    model, kept, run = pixelrnn.load(folder), [0], Incremental.run

    def noted(canvas: Incremental, network: Any) -> torch.Tensor:
        params = run(canvas, network)
        kept[0] = max(kept[0], canvas.memory)
        return params

    Incremental.run = noted  # type: ignore[method-assign]
    model.sample(4, size=(2, side), seed=0, method="cached")
    Incremental.run = run  # type: ignore[method-assign]
    return {
        "sample": median_seconds(lambda: model.sample(4, size=(side, side), seed=0, method="compiled"), 3),
        "kept": kept[0],
    }


if __name__ == "__main__":
    main()
