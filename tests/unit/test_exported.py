"""The public names are a promise."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pixelrnn
from pixelrnn.networks import NETWORKS


def test_the_public_names_are_these() -> None:
    assert pixelrnn.__all__ == ["PixelModel", "__version__", "build", "load", "network_names", "scores", "train"]
    for name in pixelrnn.__all__:
        assert getattr(pixelrnn, name) is not None


def test_only_the_public_names_are_listed() -> None:
    assert dir(pixelrnn) == sorted(pixelrnn.__all__)


def test_the_names_of_the_networks_are_listed_before_and_after_a_model_is_built() -> None:
    code = (
        "import pixelrnn; before = pixelrnn.network_names();"
        "pixelrnn.build('pixelcnn', size=(2, 2), levels=2, layers=1, width=1);"
        "assert pixelrnn.network_names() == before;"
        "print(*before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(NETWORKS)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = pixelrnn.nothing_of_the_kind
