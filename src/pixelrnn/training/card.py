"""The model card: a model's configuration, its measured likelihood, and the command that trained it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelrnn.model import PixelModel
from pixelrnn.model.conditions import described
from pixelrnn.training.presets import load_preset, preset_names


def model_card(model: PixelModel) -> str:
    """Markdown for the README.md of a run folder, from the model's config and its `about`."""
    return "\n".join(_lines(model, "FOLDER"))


def shipped_card(model: PixelModel, name: str) -> str:
    """The card of a model that comes with the package, with the likelihood measured with its 16-bit weights."""
    found = model.about["shipped"]
    lines = _lines(model, name)
    lines[0] = f"# {name}"
    lines[2] = model.about["summary"]
    measured = next(index for index, line in enumerate(lines) if line.startswith("| **validation**"))
    lines.insert(
        measured + 1,
        f"| **these weights, 16 bits** | **{found['nats']:.2f} +- {found['standard_error']:.2f} "
        f"nats per image{_conditioning(model)}** on "
        f"the first {found['images']} {found['split']} images ({found['nats_in_32_bits']:.2f} with 32 bits) |",
    )
    return "\n".join(lines)


def _error(error: float | None) -> str:
    return "" if error is None else f" +- {error:.2f}"


def _split(about: dict[str, Any]) -> str:
    """The --split option for a shipped model that was not measured on the default split."""
    split = about.get("shipped", {}).get("split", "test")
    return "" if split == "test" else f" --split {split}"


def _condition_options(model: PixelModel) -> str:
    """An example of the option that conditions a sample, for the card's command."""
    if model.encoder is not None:
        return "--like photo.png "
    return "--label 7 " if model.condition is not None and model.condition.classes > 7 else ""


def _conditioning(model: PixelModel) -> str:
    return f" given {described(model)}" if described(model) else ""


def _title(about: dict[str, Any]) -> str:
    """The preset, unless it was trained on other data than its own."""
    return str(about["preset"]["name"]) if _own_data(about) else Path(about["data"]).name


def _description(network: str, about: dict[str, Any]) -> str:
    if _own_data(about):
        return str(about["preset"]["description"])
    return f"{network}, trained on {about['data']} with the settings of the preset {about['preset']['name']}"


def _own_data(about: dict[str, Any]) -> bool:
    preset = about["preset"]
    return preset["name"] not in preset_names() or load_preset(preset["name"]).data.name == preset["data"]["name"]


def _lines(model: PixelModel, folder: str) -> list[str]:
    about: dict[str, Any] = model.about
    preset, progress = about["preset"], about["progress"]
    settings = preset["training"]
    height, width = model.size
    options = ", ".join(f"{key} = {value}" for key, value in model.config["options"].items())
    lines = [
        f"# {_title(about)}",
        "",
        _description(model.config["network"], about),
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
        f"weight averaging {settings['ema']}, seed {settings['seed']}, {about.get('machine') or about['device']} |",
        f"| **validation** | **{progress['valid_nats']:.2f}{_error(progress['standard_error'])} "
        f"nats per image{_conditioning(model)}, {progress['bits_per_dim']:.4f} bits/dim** "
        f"({about['valid_images']:,} images, on which the best epoch was chosen) |",
    ]
    if preset["source"]:
        lines.append(f"| settings from | {preset['source']} |")
    if preset["assumed"]:
        lines.append(f"| assumed, as the source does not say | {', '.join(preset['assumed'])} |")
    lines += ["", "Trained by:", "", f"    {about['command']}", "", "To evaluate it and sample from it:", ""]
    lines += [
        f"    pixelrnn evaluate {folder}{_split(about)}",
        f"    pixelrnn sample {folder} {_condition_options(model)}-n 16 -o samples.png",
        "",
    ]
    return lines
