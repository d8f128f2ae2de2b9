"""What a model can be conditioned on, given the images of a data set."""

from __future__ import annotations

CONDITIONS = {
    "": "nothing",
    "class": "the class of the image",
    "half": "the image at half its size",
    "blur": "the image, blurred",
}
"""The names used in presets, and a phrase for reports."""
