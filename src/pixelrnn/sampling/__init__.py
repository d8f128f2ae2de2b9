"""Pixels, one after the other: the walk over an image, what chooses the pixels, and how far it looks ahead."""
