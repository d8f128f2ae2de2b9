"""One paper's network per file; `NETWORKS` knows them by name, and every one of them passes the contracts."""

from __future__ import annotations

import inspect
from typing import Any

from pixelrnn.errors import ConfigError, unknown
from pixelrnn.fields import options_of_call, validated
from pixelrnn.heads import Head, head_options
from pixelrnn.networks.base import Network, evaluating
from pixelrnn.networks.diagonal_bilstm import DiagonalBiLSTM
from pixelrnn.networks.gated_pixelcnn import GatedPixelCNN
from pixelrnn.networks.lmconv import LMConv
from pixelrnn.networks.local_pixelcnn import LocalPixelCNN
from pixelrnn.networks.mcgsm import NeighbourhoodMixture
from pixelrnn.networks.mdlstm import MDLSTM
from pixelrnn.networks.mdrnn import MultiDirectionalLSTM
from pixelrnn.networks.multiscale import MultiScale
from pixelrnn.networks.pixel_transformer import PixelTransformer
from pixelrnn.networks.pixelcnn import PixelCNN
from pixelrnn.networks.pixelcnn_pp import PixelCNNpp
from pixelrnn.networks.pixelsnail import PixelSNAIL
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
    "local-pixelcnn": LocalPixelCNN,
    "pixel-transformer": PixelTransformer,
    "pixelcnn-pp": PixelCNNpp,
    "pixelsnail": PixelSNAIL,
    "lmconv": LMConv,
}

NOT_NETWORKS = {
    "mdrnn": "The multi-directional network (mdrnn) reads the whole image, from all four corners, so it cannot predict "
    'a pixel from the ones before it. Its causal direction alone is "mdlstm"; as an encoder of images that are given, '
    "it is pixelrnn.networks.MultiDirectionalLSTM.",
    "ride": 'RIDE (ride) is "spatial-lstm", whose head is "mcgsm" unless another is asked for: the hidden states of a '
    "spatial LSTM, and a mixture of conditional Gaussian scale mixtures that reads them. The mixture alone is the "
    'network "mcgsm".',
}


def default_head(name: str, levels: int) -> str:
    """The head that a network gets if none is asked for.

    Raises: ConfigError for an unknown network
    """
    return _network(name).default_head or ("bernoulli" if levels == 2 else "categorical")


def options_of(name: str) -> dict[str, Any]:
    """The options that a network takes by keyword, with their defaults.

    The default is `inspect.Parameter.empty` where a value must be given.

    Raises: ConfigError for an unknown network

    >>> options_of("mcgsm")
    {'kernel': 5, 'features': 32}
    """
    fields = options_of_call(_network(name)).model_fields
    return {key: inspect.Parameter.empty if each.is_required() else each.default for key, each in fields.items()}


def build_network(name: str, head: Head, options: dict[str, Any], condition_width: int = 0) -> Network:
    """A network with random weights, for a condition map of `condition_width` feature maps.

    Every option is checked, so that a typing error is not a strange network.

    Raises: ConfigError for an unknown network or option, a missing option, or a value out of its range
    """
    known = options_of(name)
    missing = [key for key, default in known.items() if default is inspect.Parameter.empty and key not in options]
    unknown_keys = [key for key in options if key not in known]
    if missing and not unknown_keys:
        raise ConfigError(f"{name} needs {' and '.join(missing)}, for example layers=8, width=32.")
    checked = validated(options_of_call(NETWORKS[name]), options, f"option of {name}", known=head_options(type(head)))
    width = options.get("width", head.groups)
    if width < head.groups:
        raise ConfigError(f"width must be a whole number from {head.groups}, one for each colour, not {width}.")
    return NETWORKS[name](head, condition_width, **checked.model_dump())


def _network(name: str) -> type[Network]:
    if name in NOT_NETWORKS:
        raise ConfigError(NOT_NETWORKS[name])
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    return NETWORKS[name]


__all__ = [
    "MDLSTM",
    "NETWORKS",
    "DiagonalBiLSTM",
    "GatedPixelCNN",
    "LMConv",
    "LocalPixelCNN",
    "MultiDirectionalLSTM",
    "MultiScale",
    "NeighbourhoodMixture",
    "Network",
    "PixelCNN",
    "PixelCNNpp",
    "PixelSNAIL",
    "PixelTransformer",
    "RowLSTM",
    "SpatialLSTM",
    "build_network",
    "default_head",
    "evaluating",
    "options_of",
]
