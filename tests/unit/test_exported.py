"""The public names are a promise."""

from __future__ import annotations

import pixelrnn


def test_the_public_names_are_these() -> None:
    assert pixelrnn.__all__ == ["PixelModel", "__version__", "build", "load", "networks"]
    for name in pixelrnn.__all__:
        assert getattr(pixelrnn, name) is not None
