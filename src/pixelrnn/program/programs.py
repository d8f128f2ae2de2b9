"""The programs of a model: made when they are asked for first, and again when the weights have changed."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from pixelrnn.exact import IntegerHead
from pixelrnn.heads import Head
from pixelrnn.networks import LocalPixelCNN, Network, evaluating
from pixelrnn.program.native import is_installed
from pixelrnn.program.processor import vector_bytes
from pixelrnn.program.recording import record
from pixelrnn.program.steps import UnknownStepError
from pixelrnn.program.tables import Tables, tables

_Fingerprint = tuple[tuple[int, int, int], ...]
Kind = tuple[torch.dtype, int, bool, bool]
"""Of the weights; maps of the condition, and whether it is the same everywhere; whether rows are done at once."""


class Programs:
    """The programs of the networks of one model, one for each network and kind of condition.

    >>> from pixelrnn.heads import Bernoulli
    >>> from pixelrnn.networks import build_network
    >>> head = Bernoulli(channels=1, levels=2)
    >>> network = build_network("pixelcnn", head, {"layers": 1, "width": 4, "first_kernel": 3}, 0)
    >>> Programs().of(network, head, None).products  # multiplications per pixel: done per row, and at the pixel
    (72, 304)
    """

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Network, dict[Kind, tuple[_Fingerprint, Tables | UnknownStepError]]] = (
            WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Programs], tuple[()]]:
        """A copy of a model makes its own."""
        return Programs, ()

    def of(self, network: Network, head: Head, condition_map: Tensor | None) -> Tables:
        """The program of a network and its head.

        A local network in whole numbers is computed front by front, so nothing of it is done for a row at once.

        Raises: UnknownStepError, which says why there is none
        """
        weights = next(network.parameters())
        if not is_installed():
            raise UnknownStepError("numba is not installed")
        if weights.device.type != "cpu" or weights.dtype not in (torch.float32, torch.float64):
            raise UnknownStepError(
                f"the weights are {weights.dtype} on {weights.device}, not float32 or float64 on a CPU"
            )
        if network.orders == "any" and not network.remembers:
            raise UnknownStepError("the network reads the whole image again at every pixel")
        maps, uniform = 0, True
        if condition_map is not None:
            maps, uniform = condition_map.shape[1], condition_map.shape[2:] == (1, 1)
        kind: Kind = (
            weights.dtype,
            maps,
            uniform,
            not (isinstance(head, IntegerHead) and isinstance(network, LocalPixelCNN) and network.reads_image_alone),
        )
        with self._lock:
            made = self._made.setdefault(network, {})
            now = _fingerprint(network)
            if kind not in made or made[kind][0] != now:
                made[kind] = now, _make(network, head, kind)
            found = made[kind][1]
        if isinstance(found, UnknownStepError):
            raise found
        return found


def _make(network: Network, head: Head, kind: Kind) -> Tables | UnknownStepError:
    try:
        with evaluating(network):
            program = record(network, head, kind[0], kind[1:3], any_order=network.orders == "any")
        number = np.float64 if kind[0] == torch.float64 else np.float32
        return tables(program, number, vector_bytes() // np.dtype(number).itemsize, in_rows=kind[3])
    except UnknownStepError as error:
        return error


def _fingerprint(network: Network) -> _Fingerprint:
    """Of all weights: where they are, how often they were changed, and their bits in sum."""
    found = []
    for each in network.state_dict().values():
        bits = each.detach().view(
            {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(each.element_size(), torch.uint8)
        )
        version = 0 if each.is_inference() else each._version
        found.append((each.data_ptr(), version, int(bits.sum())))
    return tuple(found)
