"""A model: network, head, condition and geometry as one thing that is saved as a folder.

Reading a name or a folder needs no PyTorch, so `PixelModel` is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelrnn.model.pixel_model import OnRow, PixelModel, Row

__all__ = ["OnRow", "PixelModel", "Row"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pixelrnn.model import pixel_model

        return getattr(pixel_model, name)
    raise AttributeError(f"module 'pixelrnn.model' has no attribute {name!r}")
