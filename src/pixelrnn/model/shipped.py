"""Trained models that come with the package: their names stand wherever a model folder is asked for."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pixelrnn.model.model_folder import CONFIG


def shipped() -> dict[str, Path]:
    """The names of the models that come with the package, and their folders."""
    root = Path(str(resources.files("pixelrnn"))) / "weights"
    return {each.parent.name: each.parent for each in sorted(root.glob(f"*/{CONFIG}"))}


def folder_of(model: str | Path) -> Path:
    """The folder of a model: that of a shipped one by its name, else the path itself.

    A name wins over a path: write ./mnist for a folder called mnist.
    """
    return (shipped().get(model) if isinstance(model, str) else None) or Path(model)
