"""The fixed split of a data set that comes without one: 80 % train, 10 % valid, 10 % test."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pixelrnn.data.images import ALL, SPLITS
from pixelrnn.errors import DataError

SPLIT_SEED = 20160125
_LEAST = 3  # images, so that every split has one


def splits_of(count: int) -> tuple[str, ...]:
    """The splits that `count` images are split into: if there are too few, all are for training."""
    return SPLITS if count >= _LEAST else ("train",)


def split_places(count: int, split: str, name: str) -> npt.NDArray[np.int64]:
    """The sorted indices of the images of `split` among `count`: always the same ones; all of them for "all".

    With three images or more every split has at least one.

    Shapes:  -> (M,) int64
    Raises:  DataError if the split would be empty; `name` is the data set's name in that message
    """
    if split == ALL:
        return np.arange(count)
    order: npt.NDArray[Any] = np.random.default_rng(SPLIT_SEED).permutation(count)
    part = max(1, count // 10) if count >= _LEAST else 0
    places = {"valid": order[:part], "test": order[part : 2 * part], "train": order[2 * part :]}[split]
    if not len(places):
        raise DataError(
            f"{name} has {count} image(s), so the split {split!r} would be empty. At least {_LEAST} images are needed."
        )
    return np.sort(places).astype(np.int64)
