"""Heads by name: what turns a network's parameters into probabilities."""

from __future__ import annotations

from pixelrnn.heads.base import Head
from pixelrnn.heads.bernoulli import Bernoulli
from pixelrnn.heads.categorical import Categorical

HEADS: dict[str, type[Head]] = {"bernoulli": Bernoulli, "categorical": Categorical}

__all__ = ["HEADS", "Bernoulli", "Categorical", "Head"]
