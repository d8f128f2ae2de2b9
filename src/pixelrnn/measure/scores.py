"""How strange an image is to a model, and where: scores for finding odd images and odd places.

Higher is stranger, for every kind. All are in bits per dimension (a dimension is one colour of one pixel).

    bits        what the model needs for the image: -log2 p(x) / D. The plain likelihood; it takes smooth and simple
                images for usual ones, whatever they show (Nalisnick et al., arXiv 1810.09136)
    typicality  |bits - bits of usual images|: as strange as an image is unlike a usual one in either direction
                (Nalisnick et al., arXiv 1906.02994, for a single image). It misses an odd image with as many bits
    ratio       bits - bits of another model `against`, which knows what all images have in common: trained on mutated
                pixels (Ren et al., arXiv 1906.02845), or one that sees a few pixels only (Zhang et al., arXiv
                2109.02639). It is as good as that model: one that learned the images as well leaves nothing
    complexity  bits - bits of the best of several classical codecs (Serrà et al., arXiv 1909.11480). What those codecs
                store badly but the model well, such as noise of few levels, is taken for usual
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.checks import Images, Labels, Numbers, checked_images
from pixelrnn.data import Pixels
from pixelrnn.errors import ConfigError, ImageError, unknown
from pixelrnn.model import PixelModel

Kind = Literal["bits", "typicality", "ratio", "complexity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CODECS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("PNG", {"optimize": True}),
    ("WebP", {"lossless": True, "quality": 100}),
    ("JPEG2000", {"irreversible": False}),
)
"""The formats of the input complexity, and their options; the smallest file counts."""

OnImages = Callable[[int, int], None]
"""Called with (images done, images in all)."""


class Scores(NamedTuple):
    """Of images, (N,) float64: higher is stranger. And of their pixels, (N, H, W) float64, whose mean is the score of
    the image; None for a kind that has no map."""

    images: Tensor
    pixels: Tensor | None


def averaged(pixels: Tensor, side: int) -> Tensor:
    """The scores of pixels (B, H, W), each averaged over side x side pixels around it, those that are inside the image.

    >>> averaged(torch.eye(3)[None], 3)[0, 0].tolist()
    [0.5, 0.3333333432674408, 0.25]
    """
    return F.avg_pool2d(pixels[:, None], side, 1, side // 2, count_include_pad=False)[:, 0]


def scores(
    model: PixelModel,
    images: Images,
    kind: Kind = "bits",
    *,
    against: PixelModel | None = None,
    usual: float | None = None,
    batch_size: int = 25,
    on_images: OnImages | None = None,
    **condition: Any,
) -> Scores:
    """How strange images are to a model: see the top of this module for the kinds.

    Arguments:
        images     (N, C, H, W), levels
        against    the other model of "ratio"
        usual      the bits per dimension of usual images, for "typicality"; None: of the validation images of the
                   model's training
        condition  label, vector or condition_map, one for all images or one for each, as in `PixelModel.log_prob`
    Raises:        ConfigError for an unknown kind, or one that lacks what it needs; ImageError or ConditionError if
                   the images or the condition do not fit the model

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=1, width=4)
    >>> images = torch.randint(0, 2, (5, 1, 8, 8), dtype=torch.uint8)
    >>> found = scores(model, images)
    >>> found.images.shape, found.pixels.shape
    (torch.Size([5]), torch.Size([5, 8, 8]))
    """
    if kind not in KINDS:
        raise unknown("kind of score", kind, KINDS)
    found = every_score(
        model, images, against=against, usual=usual, batch_size=batch_size, on_images=on_images, **condition
    )
    if kind not in found:
        raise ConfigError(MISSING[kind])
    return found[kind]


MISSING = {
    "typicality": "The model does not say how many bits usual images take: give usual=BITS_PER_DIM in Python, or "
    "choose another kind.",
    "ratio": "A ratio needs another model: against=MODEL, on the command line  --against RUN.",
    "complexity": "Classical codecs take images of 1 or 3 channels, so there is no complexity.",
}
"""Why a kind cannot be computed."""


def every_score(
    model: PixelModel,
    images: Images,
    *,
    against: PixelModel | None = None,
    usual: float | None = None,
    batch_size: int = 25,
    on_images: OnImages | None = None,
    **condition: Any,
) -> dict[Kind, Scores]:
    """Every kind that can be computed, from one evaluation of each model; arguments as for `scores`.

    Raises: ImageError or ConditionError if the images, the condition or the other model do not fit the model
    """
    images = checked_images(images, model.channels, model.levels, torch.device("cpu"))
    pixels = bits_of(model, images, batch_size=batch_size, on_images=on_images, **condition)
    bits = pixels.mean((1, 2))
    found: dict[Kind, Scores] = {"bits": Scores(bits, pixels)}
    usual = model.about.get("progress", {}).get("bits_per_dim") if usual is None else usual
    if usual is not None:
        found["typicality"] = Scores((bits - usual).abs(), None)
    if against is not None:
        ratio = pixels - bits_of(_fitting(against, model), images, batch_size=batch_size)
        found["ratio"] = Scores(ratio.mean((1, 2)), ratio)
    if model.channels in (1, 3):
        found["complexity"] = Scores(
            bits - torch.from_numpy(codec_bits(images.cpu().to(torch.uint8).numpy(), model.levels)), None
        )
    return found


@torch.no_grad()
def bits_of(
    model: PixelModel,
    images: Tensor,
    *,
    batch_size: int = 25,
    on_images: OnImages | None = None,
    label: Labels | None = None,
    vector: Numbers | None = None,
    condition_map: Numbers | None = None,
) -> Tensor:
    """The bits per dimension of every pixel, the mean over its colours: (N, C, H, W) -> (N, H, W) float64."""
    size = (images.shape[2], images.shape[3])
    checked = model._checked_condition(len(images), size, label, vector, condition_map)
    given = dict(zip(("label", "vector", "condition_map"), checked, strict=True))
    found = torch.zeros(len(images), *images.shape[2:], dtype=torch.float64)
    for first in range(0, len(images), batch_size):
        part = slice(first, min(first + batch_size, len(images)))
        some: dict[str, Any] = {name: None if each is None else each[part] for name, each in given.items()}
        nats = -model.log_prob(images[part].to(model.device), reduce=False, **some)
        found[part] = nats.double().mean(1).cpu() / math.log(2)
        if on_images is not None:
            on_images(part.stop, len(images))
    return found


def codec_bits(images: Pixels, levels: int) -> npt.NDArray[np.float64]:
    """The bits per dimension of each image (N, C, H, W) in the smallest of the files of `CODECS`, which hold 1 or 3
    channels: (N,)."""
    dimensions = math.prod(images.shape[1:])
    return np.array([8 * min(_size(each, levels, *codec) for codec in CODECS) / dimensions for each in images])


def _size(image: Pixels, levels: int, form: str, options: dict[str, Any]) -> int:
    """The bytes of an image (C, H, W) in one format."""
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    if levels == 2 and len(image) == 1 and form == "PNG":
        picture = Image.fromarray(image[0] > 0)  # one bit a pixel
    file = io.BytesIO()
    picture.save(file, form, **options)
    return len(file.getvalue())


def _fitting(against: PixelModel, model: PixelModel) -> PixelModel:
    """Raises ImageError if the other model is of other pixels."""
    if (against.channels, against.levels) != (model.channels, model.levels):
        raise ImageError(
            f"The two models of a ratio must be of the same pixels, but one has {model.channels} channel(s) and "
            f"{model.levels} levels, the other {against.channels} and {against.levels}."
        )
    return against


@dataclass(frozen=True)
class Detection:
    """How well a score tells odd images from normal ones, with the 95 % intervals of a bootstrap over the images."""

    auroc: float
    """The probability that an odd image has a higher score than a normal one: 0.5 by chance, 1 if always."""
    auroc_interval: tuple[float, float]
    fpr95: float
    """The fraction of normal images that are taken for odd where 95 % of the odd ones are found."""
    fpr95_interval: tuple[float, float]


def detection(normal: Tensor, odd: Tensor, *, resamples: int = 500, seed: int = 0) -> Detection:
    """How well scores (N,) of normal images and (M,) of odd ones differ.

    Raises: ImageError if one of the two is empty

    >>> found = detection(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0]))
    >>> found.auroc, found.fpr95
    (1.0, 0.0)
    """
    if not (len(normal) and len(odd)):
        raise ImageError("To tell odd images from normal ones takes at least one of each.")
    chance = np.random.default_rng(seed)
    both = normal.double().numpy(), odd.double().numpy()
    drawn = [_rates(*(chance.choice(each, len(each)) for each in both)) for _ in range(resamples)]
    low, high = np.quantile(np.array(drawn), (0.025, 0.975), axis=0)
    auroc, fpr95 = _rates(*both)
    return Detection(auroc, (float(low[0]), float(high[0])), fpr95, (float(low[1]), float(high[1])))


def _rates(normal: npt.NDArray[np.float64], odd: npt.NDArray[np.float64]) -> tuple[float, float]:
    """AUROC, and the false-positive rate at 95 % of true positives."""
    from sklearn.metrics import roc_auc_score, roc_curve  # here, as it takes a second to import

    is_odd = np.repeat([False, True], [len(normal), len(odd)])
    every = np.concatenate([normal, odd])
    false, true, _ = roc_curve(is_odd, every, drop_intermediate=False)
    return float(roc_auc_score(is_odd, every)), float(false[true >= 0.95].min())
