"""Image models that know the probability of every pixel: PixelRNN, PixelCNN and family.

    model = pixelrnn.build("gated-pixelcnn", size=(28, 28), levels=2, layers=10, width=128)
    pixelrnn.train(model, dataset, out="folder")    # a Dataset of PyTorch, a tensor or an array
    nats = model.log_prob(images)                   # (B,) exact
    new = model.sample(16, seed=0)                  # (16, 1, 28, 28) uint8
    whole = model.complete(images, known, seed=0)   # known pixels come back untouched
    strange = pixelrnn.scores(model, images)        # how strange images are, and where
    model.save("folder"); pixelrnn.load("folder")

Importing this module is quick: PyTorch is loaded when a function is first called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from pixelrnn.measure.scores import scores as scores
    from pixelrnn.model import PixelModel
    from pixelrnn.training.from_python import train as train

__version__ = "0.1.0"
__all__ = ["PixelModel", "__version__", "build", "load", "network_names", "scores", "train"]


def network_names() -> list[str]:
    """The names of the networks that `build` knows.

    >>> "gated-pixelcnn" in network_names()
    True
    """
    from pixelrnn.networks import NETWORKS

    return list(NETWORKS)


def build(
    network: str,
    *,
    size: tuple[int, int],
    channels: int = 1,
    levels: int = 256,
    head: str | None = None,
    **options: Any,
) -> PixelModel:
    """A model with random weights.

    Arguments:
        network   a name of `network_names()`
        size      (H, W) of the images it will be trained on
        channels  1 for gray, 3 for RGB; up to 256
        levels    2 to 256; pixels are integers 0..levels-1
        head      "bernoulli", "categorical", "mcgsm" or "logistic-mixture"; left out, it is the network's own if it has
                  one, else "bernoulli" for 2 levels and "categorical" for more
        options   of the network, the head and the condition (`options.ConditionOptions`), by their own names
    Raises:       ConfigError for an unknown name, with the nearest one, or a value out of its range
    """
    from pixelrnn.model import PixelModel
    from pixelrnn.networks import default_head

    return PixelModel(network, head or default_head(network, levels), size, channels, levels, options)


def load(folder: str | Path, device: str | torch.device = "cpu") -> PixelModel:
    """A trained model from its folder, one that comes with the package by its name, or one of the Hub by its address
    ("hf://user/name"), ready for evaluation.

    Raises: ModelFolderError if the folder is missing, damaged, or was not written by this package; ConfigError for a
            device that is not there
    """
    from pixelrnn.model import PixelModel

    return PixelModel.load(folder, device)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "PixelModel":
        from pixelrnn.model import PixelModel

        return PixelModel
    if name == "scores":
        from pixelrnn.measure.scores import scores

        return scores
    if name == "train":
        from pixelrnn.training.from_python import train

        return train
    raise AttributeError(f"module 'pixelrnn' has no attribute {name!r}")
