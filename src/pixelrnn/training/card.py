"""The model card: what a model is, what it was measured to be, and the command that made it."""

from __future__ import annotations

from typing import Any

from pixelrnn.model import PixelModel


def model_card(model: PixelModel) -> str:
    """Markdown for a run folder's README.md, from the model's config and what training wrote into `about`."""
    about: dict[str, Any] = model.about
    preset, progress = about["preset"], about["progress"]
    settings = preset["training"]
    height, width = model.size
    options = ", ".join(f"{key} = {value}" for key, value in model.config["options"].items())
    lines = [
        f"# {preset['name']}",
        "",
        preset["description"],
        "",
        "![samples](samples.png)",
        "",
        "| what | value |",
        "|---|---|",
        f"| images | {height} x {width}, {model.channels} channel(s), {model.levels} levels |",
        f"| network | {model.config['network']}: {options} |",
        f"| head | {model.config['head']} |",
        f"| parameters | {model.num_parameters:,} |",
        f"| trained on | {about['data']}, train split, {about['train_images']:,} images; {about['protocol']} |",
        f"| training | {progress['images']:,} images seen in {progress['seconds']:.0f} s, epoch {progress['epoch']}, "
        f"{settings['optimizer']}, learning rate {settings['learning_rate']}, batch {settings['batch_size']}, "
        f"average of weights {settings['ema']}, seed {settings['seed']}, device {about['device']} |",
        f"| **validation** | **{progress['valid_nats']:.2f} +- {progress['standard_error']:.2f} nats per image, "
        f"{progress['bits_per_dim']:.4f} bits/dim** "
        f"({about['valid_images']:,} images, on which the epoch was chosen) |",
    ]
    if preset["source"]:
        lines.append(f"| settings from | {preset['source']} |")
    if preset["assumed"]:
        lines.append(f"| assumed, as the source leaves it open | {', '.join(preset['assumed'])} |")
    lines += ["", "Made by:", "", f"    {about['command']}", "", "Measure it, and use it:", ""]
    lines += ["    pixelrnn evaluate FOLDER", "    pixelrnn sample FOLDER -n 16 -o samples.png", ""]
    return "\n".join(lines)
