"""A model: network, head, condition and geometry as one object, saved as a folder.

Looking up names and folders needs no PyTorch, so `PixelModel` is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelrnn.model.pixel_model import PixelModel
    from pixelrnn.sampling.events import OnProgress, OnRow, Row

__all__ = ["OnProgress", "OnRow", "PixelModel", "Row"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pixelrnn.model import pixel_model
        from pixelrnn.sampling import events

        return getattr(pixel_model if name == "PixelModel" else events, name)
    raise AttributeError(f"module 'pixelrnn.model' has no attribute {name!r}")
