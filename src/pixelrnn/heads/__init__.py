"""Heads by name: what turns a network's parameters into probabilities."""

from __future__ import annotations

from typing import Any

from pixelrnn.fields import options_of_call
from pixelrnn.heads.base import Head
from pixelrnn.heads.bernoulli import Bernoulli
from pixelrnn.heads.categorical import Categorical
from pixelrnn.heads.mcgsm import MCGSM

HEADS: dict[str, type[Head]] = {"bernoulli": Bernoulli, "categorical": Categorical, "mcgsm": MCGSM}


def head_options(kind: type[Head]) -> dict[str, Any]:
    """The options that a kind of head takes by keyword, with their defaults."""
    return {key: each.default for key, each in options_of_call(kind).model_fields.items()}


__all__ = ["HEADS", "MCGSM", "Bernoulli", "Categorical", "Head", "head_options"]
