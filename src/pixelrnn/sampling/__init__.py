"""Sampling: the walk over an image, how its pixels are chosen, and how far ahead it guesses."""
