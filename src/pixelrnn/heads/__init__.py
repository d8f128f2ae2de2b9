"""Output distributions by name: a head turns the network's parameters into probabilities of pixel values."""

from __future__ import annotations

from typing import Any

from pixelrnn.fields import options_of_call
from pixelrnn.heads.base import Head
from pixelrnn.heads.bernoulli import Bernoulli
from pixelrnn.heads.categorical import Categorical
from pixelrnn.heads.logistic_mixture import LogisticMixture
from pixelrnn.heads.mcgsm import MCGSM

HEADS: dict[str, type[Head]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "mcgsm": MCGSM,
    "logistic-mixture": LogisticMixture,
}


def head_options(kind: type[Head]) -> dict[str, Any]:
    """The keyword options of a head class and their defaults.

    >>> head_options(MCGSM)
    {'components': 8, 'scales': 4}
    """
    return {key: each.default for key, each in options_of_call(kind).model_fields.items()}


__all__ = ["HEADS", "MCGSM", "Bernoulli", "Categorical", "Head", "LogisticMixture", "head_options"]
