"""A model: network, head, condition and geometry as one object, saved as a folder.

Looking up names and folders needs no PyTorch, so `PixelModel` is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelrnn.model.generation import OnProgress, OnRow, Row
    from pixelrnn.model.pixel_model import PixelModel

__all__ = ["OnProgress", "OnRow", "PixelModel", "Row"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pixelrnn.model import generation, pixel_model

        return getattr(pixel_model if name == "PixelModel" else generation, name)
    raise AttributeError(f"module 'pixelrnn.model' has no attribute {name!r}")
