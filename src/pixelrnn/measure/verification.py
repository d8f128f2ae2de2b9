"""Verification: do the codes of two images show that they are of one class, for example of one person?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelrnn.errors import DataError
from pixelrnn.model import PixelModel

MOST_IMAGES = 2000  # these make two million pairs


@dataclass(frozen=True)
class Verification:
    """How well distances between codes tell whether two images are of one class."""

    classes: int
    images: int
    same_pairs: int
    other_pairs: int
    auc: float  # how often a pair of one class is closer than another pair; 0.5 by chance
    equal_error_rate: float  # where false accepts and false rejects are equally frequent
    nearest: float  # the fraction of images whose nearest other image is of the same class
    roc: list[tuple[float, float]]  # (false accepts, true accepts), 21 points

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@torch.no_grad()
def verify(model: PixelModel, images: Tensor, labels: Tensor) -> Verification:
    """Compare the codes of all pairs of images (N, C, H, W) with labels (N,); at most the first 2,000 images.

    Raises: ConditionError if the model has no encoder; DataError if all pairs are of one kind
    """
    from sklearn.metrics import roc_auc_score, roc_curve  # here, as it takes a second to import

    images, labels = images[:MOST_IMAGES], labels[:MOST_IMAGES]
    codes = torch.cat([model.encode(some) for some in images.split(64)]).cpu().double()
    distances = torch.cdist(codes, codes)
    one, two = torch.triu_indices(len(codes), len(codes), 1)
    same = (labels[one] == labels[two]).numpy()
    between = distances[one, two].numpy()
    if same.all() or not same.any():
        raise DataError(
            "Verification needs images of at least two classes, and two or more images of one of them, but got "
            f"{len(labels)} images of {len(labels.unique())} classes."
        )
    accepted_wrongly, accepted_rightly, _ = roc_curve(same, -between, drop_intermediate=False)
    near = distances.fill_diagonal_(torch.inf).argmin(1)
    missed = 1 - accepted_rightly
    error = np.abs(accepted_wrongly - missed).argmin()
    return Verification(
        classes=len(labels.unique()),
        images=len(labels),
        same_pairs=int(same.sum()),
        other_pairs=int((~same).sum()),
        auc=float(roc_auc_score(same, -between)),
        equal_error_rate=float((accepted_wrongly[error] + missed[error]) / 2),
        nearest=float((labels[near] == labels).double().mean()),
        roc=[(float(at), float(accepted_rightly[accepted_wrongly <= at].max())) for at in np.linspace(0, 1, 21)],
    )
