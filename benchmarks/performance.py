"""Sampling, training and evaluation, as ratios of one run on one machine: the table in docs/performance.md.

    python benchmarks/performance.py [--out docs/performance.md] [--models runs/bench] [--minutes 3] [--only sampling]

Sampling is measured with trained weights, as how far a walk can look ahead depends on them: a model that is not in
--models yet is trained first, for so many minutes. The naive sampler runs the whole network once per pixel and colour:
its time is extrapolated from 20 timed passes on the images that were sampled. The floor is the arithmetic of one whole
pass (every weight that no mask hides, once per pixel) at the matrix rate that was measured in the same process.
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
from common import apart, flop_per_pixel, matrix_rate, median_seconds, peak_megabytes, timed

import pixelrnn
from pixelrnn.training.memory import keep_freed_memory

# In a few minutes an average over the weights would be that of random ones, with which every guess is right.
SHORT: dict[str, object] = {"ema": 0, "optimizer": "adam", "learning_rate": 2e-3, "batch_size": 8}

# name -> preset and what is set in it
MODELS: dict[str, tuple[str, dict[str, object]]] = {
    "mnist-gated-10x128": (
        "mnist-gated",
        {"layers": 10, "width": 128, "kernel": 3, "batch_size": 16, "learning_rate": 1e-3},
    ),
    "mnist-pixelcnn-12x32": ("mnist-pixelcnn", {}),
    "mnist-row-lstm-7x16": ("mnist-row-lstm", {}),
    "mnist-diagonal-bilstm-7x16": ("mnist-diagonal-bilstm", {}),
    "cifar10-gated-7x64": ("cifar10-gated", {"width": 64, **SHORT}),
    "cifar10-pixelcnn-12x32": ("paper-cifar10-pixelcnn", {"layers": 12, "width": 32, "out_width": 192, **SHORT}),
    "cifar10-row-lstm-7x24": ("paper-cifar10-row-lstm", {"layers": 7, "width": 24, "out_width": 192, **SHORT}),
    "cifar10-diagonal-bilstm-7x24": (
        "paper-cifar10-diagonal-bilstm",
        {"layers": 7, "width": 24, "out_width": 192, **SHORT},
    ),
}
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
    parser.add_argument("--only", choices=["sampling", "steps", "growth"], nargs="+")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        case = json.loads(options.one)
        print(json.dumps(globals()[case.pop("measure")](**case)))
        return
    parts = {"sampling": sampling_table, "steps": step_table, "growth": growth_table}
    wanted = options.only or list(parts)
    threads = torch.get_num_threads()
    lines = [f"*{platform.machine()}, {os.cpu_count()} CPUs, {threads} threads, torch {torch.__version__}.*", ""]
    for name in wanted:
        for line in parts[name](options.models, options.minutes):
            print(line, flush=True)
            lines.append(line)
    if options.out:
        write(options.out, lines)


def write(page: Path, lines: list[str]) -> None:
    """Put the tables between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split("<!-- measured -->\n")
    _, after = rest.split("<!-- end -->\n")
    page.write_text(before + "<!-- measured -->\n" + "\n".join(lines) + "\n<!-- end -->\n" + after, encoding="utf-8")


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


def sampling_table(models: Path, minutes: float) -> list[str]:
    lines = [
        "## Sampling",
        "",
        "| model | images | a whole pass, s | **sampling, s** | in whole passes | times the floor | "
        "naive, s (extrapolated) | faster than naive | one pixel at a time, s | MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in MODELS:
        folder = trained(name, models, minutes)
        for images in BATCHES:
            found = apart(__file__, {"measure": "sampling", "folder": str(folder), "images": images})
            whole, sample = found["whole"], found["sample"]
            naive = whole * found["passes"]
            lines.append(
                f"| {name} | {images} | {whole:.4f} | **{sample:.2f}** | {sample / whole:.1f} | "
                f"{sample * found['rate'] / found['flop']:.1f} | {naive:.0f} | **{naive / sample:.0f}x** | "
                f"{found['pixel']:.2f} | {found['megabytes']:.0f} |"
            )
    return [*lines, ""]


@torch.inference_mode()
def sampling(folder: str, images: int) -> dict[str, float]:
    model = pixelrnn.load(folder)
    made = model.sample(images, seed=0, batch_size=images)
    before = peak_megabytes()
    sample = median_seconds(lambda: model.sample(images, seed=0, batch_size=images), 5)
    megabytes = peak_megabytes() - before
    pixel = timed(lambda: model.sample(images, seed=0, batch_size=images, span=1))
    whole = median_seconds(lambda: model.log_prob(made, check=False), 20)
    return {
        "sample": sample,
        "pixel": pixel,
        "whole": whole,
        "megabytes": megabytes,
        "rate": matrix_rate(),
        "passes": model.size[0] * model.size[1] * model.head.groups,
        "flop": images * model.size[0] * model.size[1] * flop_per_pixel(model),
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
        f"{name}, 4 images; what the walk keeps is counted in numbers.",
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
    model.sample(4, size=(2, side), seed=0)
    Incremental.run = run  # type: ignore[method-assign]
    return {"sample": median_seconds(lambda: model.sample(4, size=(side, side), seed=0), 3), "kept": kept[0]}


if __name__ == "__main__":
    main()
