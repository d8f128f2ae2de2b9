"""The generation orders that a model was trained in, and the one in which it completes an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pixelrnn.canvas import S_CURVES, Order, known_first
from pixelrnn.networks import Network


def trained_orders(about: Mapping[str, Any]) -> str | None:
    """The family of orders that a model was trained in (see `FAMILIES`), "" for its own alone; None if nobody says.

    Arguments: about, of the model: its provenance

    >>> trained_orders({"preset": {"training": {"orders": "s-curves"}}}), trained_orders({})
    ('s-curves', None)
    """
    settings = about.get("preset", {}).get("training")
    return None if settings is None else settings.get("orders") or ""


def takes_known_first(network: type[Network] | Network, about: Mapping[str, Any]) -> bool:
    """Whether a completion may begin with the known pixels, wherever they are: a network that takes any order does, and
    a model that was trained in raster order alone has never seen another."""
    return network.orders == "any" and trained_orders(about) not in ("", "raster")


def completion_order(network: Network, about: Mapping[str, Any], known: Tensor) -> Order | None:
    """The order in which an image is completed unless another is asked for; None for the network's own.

    The known pixels come first. Those of a model that was trained on S-curves are followed by the others along the
    curve that has as few of the known pixels as can be behind an unknown one: it grows out of what is known, and its
    neighbourhoods are those of the training.

    Shapes: known (H, W) bool
    """
    if not takes_known_first(network, about):
        return None
    height, width = known.shape
    if trained_orders(about) != "s-curves":
        return known_first(known, network.order(height, width))
    curves = [Order.named(name, height, width) for name in S_CURVES]
    return known_first(known, min(curves, key=lambda curve: unseen_known(curve, known)))


def unseen_known(order: Order, known: Tensor) -> int:
    """How many known pixels come after an unknown one.

    Shapes: known (H, W) bool
    """
    if bool(known.all()):
        return 0
    return int((known & (order.ranks > order.ranks[~known].min())).sum())
