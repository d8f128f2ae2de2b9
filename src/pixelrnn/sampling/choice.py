"""Compiled or on PyTorch: which way to walk is faster, by what is known of network and batch, then by measuring."""

from __future__ import annotations

from pixelrnn.program.tables import Tables

_RATE = 20e9  # multiplications a second, on one thread
_CALL = 20e-6  # seconds of PyTorch's calls for an instruction: a walk of small operations takes as long as its calls
_TOGETHER = 2  # times that rate where four images of a thread or more share a read of the weights
_GUESSED = 0.08  # passes for a pixel of two levels: most guesses are right


class Choice:
    """Learns how long walks take, and chooses between them.

    Seconds per pixel of an image are estimated before a way was taken with about as many images of about that size, and
    remembered then.

    >>> choice = Choice()
    >>> choice.learn("compiled", images=16, area=64, pixels=1000, seconds=1.0)
    >>> choice.learn("cached", images=16, area=64, pixels=1000, seconds=0.5)
    >>> choice.compiled([], levels=2, images=16, threads=2, area=64, pixels=1000, first=0.0)
    False
    """

    def __init__(self) -> None:
        # Seconds per pixel, by method, images of the batch and pixels of an image.
        self._took: dict[tuple[str, int, int], float] = {}

    def compiled(
        self, tables: list[Tables], *, levels: int, images: int, threads: int, area: int, pixels: int, first: float
    ) -> bool:
        """Whether the compiled walk is faster.

        Arguments:
            tables   of the stages of the network
            images   of a batch
            area     pixels of an image
            pixels   of all images together
            first    seconds until the compiled code is ready
        """
        cost, stages = sum(each.cost(area) for each in tables), max(1, len(tables))
        calls = sum(each.instructions for each in tables) / stages * _CALL * (_GUESSED if levels == 2 else 1.0)
        rate = _RATE * min(images, threads) * (_TOGETHER if images >= 4 * threads else 1)
        sizes = images.bit_length(), area.bit_length()
        compiled = self._took.get(("compiled", *sizes), cost / stages / rate)
        on_pytorch = self._took.get(("cached", *sizes), calls / images + cost / stages / _RATE / threads)
        return compiled * pixels + first < on_pytorch * pixels

    def learn(self, method: str, *, images: int, area: int, pixels: int, seconds: float) -> None:
        """A walk of so many images took so long for all their pixels; the fastest counts, as others were disturbed."""
        key, found = (method, images.bit_length(), area.bit_length()), seconds / max(pixels, 1)
        self._took[key] = min(found, self._took.get(key, found))
