"""One paper's network per file; `NETWORKS` knows them by name, and every one of them passes the contracts."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from pixelrnn.errors import ConfigError, unknown
from pixelrnn.heads import Head, head_options
from pixelrnn.networks.base import Network
from pixelrnn.networks.diagonal_bilstm import DiagonalBiLSTM
from pixelrnn.networks.gated_pixelcnn import GatedPixelCNN
from pixelrnn.networks.mcgsm import NeighbourhoodMixture
from pixelrnn.networks.mdlstm import MDLSTM
from pixelrnn.networks.mdrnn import MultiDirectionalLSTM
from pixelrnn.networks.multiscale import MultiScale
from pixelrnn.networks.pixelcnn import PixelCNN
from pixelrnn.networks.row_lstm import RowLSTM
from pixelrnn.networks.spatial_lstm import SpatialLSTM

NETWORKS: dict[str, type[Network]] = {
    "pixelcnn": PixelCNN,
    "gated-pixelcnn": GatedPixelCNN,
    "row-lstm": RowLSTM,
    "diagonal-bilstm": DiagonalBiLSTM,
    "multiscale": MultiScale,
    "mdlstm": MDLSTM,
    "spatial-lstm": SpatialLSTM,
    "mcgsm": NeighbourhoodMixture,
}

NOT_NETWORKS = {
    "mdrnn": "The multi-directional network (mdrnn) reads the whole image, from all four corners, so it cannot predict "
    'a pixel from the ones before it. Its causal direction alone is "mdlstm"; as an encoder of images that are given, '
    "it is pixelrnn.networks.MultiDirectionalLSTM.",
    "ride": 'RIDE (ride) is "spatial-lstm", whose head is "mcgsm" unless another is asked for: the hidden states of a '
    'spatial LSTM, and a mixture of Gaussian scale mixtures told of them. The mixture alone is the network "mcgsm".',
}


def default_head(name: str, levels: int) -> str:
    """The head that a network gets if none is asked for.

    Raises: ConfigError for an unknown network
    """
    options_of(name)
    return NETWORKS[name].default_head or ("bernoulli" if levels == 2 else "categorical")


def options_of(name: str) -> dict[str, Any]:
    """The options that a network takes by keyword, with their defaults.

    The default is `inspect.Parameter.empty` where a value must be given.

    Raises: ConfigError for an unknown network
    """
    if name in NOT_NETWORKS:
        raise ConfigError(NOT_NETWORKS[name])
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    parameters = inspect.signature(NETWORKS[name]).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


def build_network(name: str, head: Head, options: dict[str, Any], condition_width: int = 0) -> Network:
    """A network with random weights, for a condition of `given` maps.

    Every option is checked, so that a typing error is not a strange network.

    Raises: ConfigError for an unknown network or option, a missing option, or a value out of its range
    """
    known = options_of(name)
    for key, value in options.items():
        if key not in known:
            raise unknown(f"option of {name}", key, {**known, **head_options(type(head))})
        _check(key, value, known[key], head.groups)
    missing = [key for key, default in known.items() if default is inspect.Parameter.empty and key not in options]
    if missing:
        raise ConfigError(f"{name} needs {' and '.join(missing)}, for example layers=8, width=32.")
    return NETWORKS[name](head, condition_width, **options)


def _check(key: str, value: Any, default: Any, groups: int) -> None:
    """Kernels, dropout, layers and width have ranges of their own; any other option is of the kind of its default."""
    if key.endswith("kernel"):
        fits, expected = isinstance(value, int) and value in range(3, 100, 2), "an odd whole number from 3 to 99"
    elif key == "dropout":
        fits, expected = isinstance(value, int | float) and 0 <= value < 1, "a number from 0 to below 1"
    elif isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, expected = isinstance(value, str), "a text"
    elif isinstance(default, float):
        fits, expected = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    else:
        ranges = {"layers": (1, 1000), "width": (groups, 16384), "factor": (2, 64), "images": (2, 8)}
        least, most = {**ranges, "features": (1, 1024)}.get(key, (0, 16384))
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        expected = f"a whole number from {least} to {most}"
    if not fits:
        raise ConfigError(f"{key} must be {expected}, not {value!r}.")


class _Names(ModuleType):
    """Python binds an imported sub-package to its parent, over the function `pixelrnn.networks`. So this package can be
    called like the function, and `pixelrnn.networks()` lists the names whatever was imported before."""

    def __call__(self) -> list[str]:
        return list(NETWORKS)


sys.modules[__name__].__class__ = _Names

__all__ = [
    "MDLSTM",
    "NETWORKS",
    "DiagonalBiLSTM",
    "GatedPixelCNN",
    "MultiDirectionalLSTM",
    "MultiScale",
    "NeighbourhoodMixture",
    "Network",
    "PixelCNN",
    "RowLSTM",
    "SpatialLSTM",
    "build_network",
    "default_head",
    "options_of",
]
