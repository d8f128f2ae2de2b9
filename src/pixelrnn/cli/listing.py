"""pixelrnn list: what there is, by name."""

from __future__ import annotations

import typer

from pixelrnn.errors import unknown

EXAMPLE = "\b\nExample:\n  pixelrnn list presets\n"


def run(what: str = typer.Argument("all", help="presets, networks, data, weights, or all.")) -> None:
    """List presets, networks, data sets, or the trained models that come with the package."""
    tables = {"presets": _presets, "networks": _networks, "data": _data, "weights": _weights}
    if what != "all" and what not in tables:
        raise unknown("list of", what, [*tables, "all"])
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
    from pixelrnn.networks import NETWORKS, options_of

    return {name: f"{_first_line(NETWORKS[name])} Options: {', '.join(options_of(name))}." for name in NETWORKS}


def _data() -> dict[str, str]:
    from pixelrnn.data import data_descriptions

    return {
        **data_descriptions(),
        "PATH": "a folder of pictures (class = sub-folder) or what `pixelrnn pack` wrote, an .npz or .npy file",
    }


def _weights() -> dict[str, str]:
    from pixelrnn.folder import read_config
    from pixelrnn.shipped import shipped

    return {name: read_config(folder)["about"]["summary"] for name, folder in shipped().items()}


def _first_line(thing: type) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]
