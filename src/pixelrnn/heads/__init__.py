"""Heads by name: what turns a network's parameters into probabilities."""

from __future__ import annotations

import inspect
from typing import Any

from pixelrnn.heads.base import Head
from pixelrnn.heads.bernoulli import Bernoulli
from pixelrnn.heads.categorical import Categorical
from pixelrnn.heads.mcgsm import MCGSM

HEADS: dict[str, type[Head]] = {"bernoulli": Bernoulli, "categorical": Categorical, "mcgsm": MCGSM}


def head_options(kind: type[Head]) -> dict[str, Any]:
    """The options that a kind of head takes by keyword, with their defaults; all are whole numbers."""
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


__all__ = ["HEADS", "MCGSM", "Bernoulli", "Categorical", "Head", "head_options"]
