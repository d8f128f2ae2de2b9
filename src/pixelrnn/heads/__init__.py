"""Output distributions by name: a head turns the network's parameters into probabilities of pixel values."""

from __future__ import annotations

import inspect
from typing import Any

from pixelrnn.heads.base import Head
from pixelrnn.heads.bernoulli import Bernoulli
from pixelrnn.heads.categorical import Categorical
from pixelrnn.heads.mcgsm import MCGSM

HEADS: dict[str, type[Head]] = {"bernoulli": Bernoulli, "categorical": Categorical, "mcgsm": MCGSM}


def head_options(kind: type[Head]) -> dict[str, Any]:
    """The keyword options of a head class and their defaults, all of them integers.

    >>> head_options(MCGSM)
    {'components': 8, 'scales': 4}
    """
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


__all__ = ["HEADS", "MCGSM", "Bernoulli", "Categorical", "Head", "head_options"]
