"""What a model may be conditioned on of the images of a data set."""

from __future__ import annotations

CONDITIONS = {
    "": "nothing",
    "class": "the class of the image",
    "half": "the image at half its size",
    "blur": "the image, blurred",
}
"""The kinds, as presets name them, and a phrase for reports."""
