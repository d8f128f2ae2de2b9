"""The public names, and that they work whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pixelrnn


def test_the_public_names_are_these() -> None:
    assert pixelrnn.__all__ == ["PixelModel", "__version__", "build", "load", "networks"]
    for name in pixelrnn.__all__:
        assert getattr(pixelrnn, name) is not None


def test_networks_lists_the_names_before_and_after_the_sub_package_is_imported() -> None:
    code = (
        "import pixelrnn; first = pixelrnn.networks(); import pixelrnn.networks; "
        "assert first == pixelrnn.networks() == list(pixelrnn.networks.NETWORKS); print(first)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pixelcnn', 'gated-pixelcnn']"
