"""pixelrnn list: what is available, by name."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING

import typer

from pixelrnn.errors import unknown

if TYPE_CHECKING:
    from pixelrnn.fields import Strict

EXAMPLE = "\b\nExamples:\n  pixelrnn list presets\n  pixelrnn list settings     # every KEY of train --set\n"


def run(what: str = typer.Argument("all", help="presets, networks, data, weights, settings, or all.")) -> None:
    """List presets, networks, data sets, the trained models that come with the package, or what a preset sets."""
    tables = {
        "presets": _presets,
        "networks": _networks,
        "data": _data,
        "weights": _weights,
        "settings": _settings,
    }
    if what != "all" and what not in tables:
        raise unknown("list", what, [*tables, "all"])
    for name, rows in tables.items():
        if what == "all":
            typer.echo(f"{name}:")
        if what in ("all", name):
            entries = rows()
            widest = max(len(key) for key in entries)
            for key, value in entries.items():
                typer.echo(f"{'  ' if what == 'all' else ''}{key:{widest}}  {value}")


def _presets() -> dict[str, str]:
    from pixelrnn.training.presets import load_preset, preset_names

    return {name: load_preset(name).description for name in preset_names()}


def _networks() -> dict[str, str]:
    from pixelrnn.heads import HEADS, head_options
    from pixelrnn.networks import NETWORKS, default_head, options_of

    rows = {}
    for name, network in NETWORKS.items():
        options = {**options_of(name), **head_options(HEADS[default_head(name, 2)])}
        listed = [key if default is inspect.Parameter.empty else f"{key}={default}" for key, default in options.items()]
        rows[name] = f"{_first_line(network)} Options: {', '.join(listed)}."
    return rows


def _data() -> dict[str, str]:
    from pixelrnn.data import data_descriptions

    return {
        **data_descriptions(),
        "PATH": "a folder of pictures (class = sub-folder) or what `pixelrnn pack` wrote, an .npz or .npy file",
    }


def _weights() -> dict[str, str]:
    from pixelrnn.model.model_folder import read_config, shipped

    return {name: read_config(folder)["about"]["summary"] for name, folder in shipped().items()}


def _settings() -> dict[str, str]:
    from pixelrnn.model.options import ConditionOptions
    from pixelrnn.training.presets import DataSettings, TrainingSettings

    rows = _described("data", DataSettings) | _described("training", TrainingSettings)
    rows["model.network"] = "network: a name from `pixelrnn list networks`, which also lists its options"
    rows["model.head"] = (
        'output distribution: "bernoulli", "categorical", "mcgsm" or "logistic-mixture"; "" for the network\'s own '
        '(default "")'
    )
    return rows | _described("model", ConditionOptions)


def _described(section: str, kind: type[Strict]) -> dict[str, str]:
    """The descriptions and defaults of a group of settings."""
    return {
        f"{section}.{key}": f"{field.description} (default {json.dumps(field.get_default(call_default_factory=True))})"
        for key, field in kind.model_fields.items()
    }


def _first_line(thing: type) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]
