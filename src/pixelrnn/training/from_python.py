"""Training from Python: a model of your own on data of your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from pixelrnn.data import ImageData, ProgressCallback
from pixelrnn.data.from_dataset import from_dataset, held_out
from pixelrnn.errors import ConfigError
from pixelrnn.model import PixelModel
from pixelrnn.training import run
from pixelrnn.training.callbacks import Progress
from pixelrnn.training.machine import Machine
from pixelrnn.training.presets import Preset, preset_from


def train(
    model: PixelModel,
    data: Any,
    valid: Any = None,
    *,
    out: str | Path,
    values: int | None = None,
    binarise: str = "",
    condition: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    max_minutes: float | None = None,
    machine: Machine | None = None,
    bar: bool = False,
    on_validation: Callable[[Progress], None] = lambda _: None,
    on_check: ProgressCallback | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[str | Logger] = (),
    trainer: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PixelModel:
    """Train a model on images, and return it with the best weights, which are in the run folder `out` too.

    The folder is that of `pixelrnn train`: `pixelrnn sample`, `evaluate --data FILE`, ... take it.

        model = pixelrnn.build("gated-pixelcnn", size=(28, 28), levels=256, layers=8, width=64)
        pixelrnn.train(model, torchvision.datasets.FashionMNIST("data"), out="runs/fashion", epochs=5)

    Arguments:
        model          of `build` or `load`; it is trained in place
        data           what to learn from: a `torch.utils.data.Dataset` of images or of (image, label), of which what
                       it draws by chance is drawn in every epoch; a `DataLoader`, of which the data set, the batch
                       size and the number of workers are taken; a tensor or array of images; (images, labels)
        valid          what the best epoch is chosen by; None for a tenth of the data, always the same one
        out            the run folder
        values         number of values that a pixel of the data can have; None for the model's levels. With more, they
                       become levels by floor, or by binarisation for two
        binarise       "stochastic", "fixed" or "threshold", for a model of two levels
        condition      "class", "half", "blur" or "" (see `pixelrnn list settings`); None for "class" if the model has
                       classes, otherwise ""
        on_check       called with the progress of the first reading of the data, in which every item is checked
        settings       of the training, such as epochs=5, batch_size=32, learning_rate=1e-3; see `TrainingSettings`
        other          as in `pixelrnn.training.run.train`
    Shapes:            an image is (H, W), (C, H, W) or (H, W, C), integers 0..values-1
    Raises:            ConfigError for settings that do not fit; DataError, ImageError for data that does not;
                       RunFolderError, TrainingError, StoppedError as in `pixelrnn.training.run.train`
    """
    if model.is_exact:
        raise ConfigError("A model in whole numbers cannot be trained. Train the one that it was made from.")
    if isinstance(data, DataLoader):
        settings = {"batch_size": data.batch_size} | settings
        machine = machine or Machine(workers=data.num_workers)
    classes = model.condition.classes if model.condition is not None else 0
    values = values or model.levels
    given = from_dataset(_unwrapped(data), values, progress=on_check)
    pairs = held_out(given) if valid is None else (given, from_dataset(_unwrapped(valid), values, progress=on_check))
    pair = (_checked(model, pairs[0], classes), _checked(model, pairs[1], classes))
    condition = ("class" if classes else "") if condition is None else condition
    best = run.train(
        _preset(model, given.name, values, binarise, condition, settings),
        out,
        model=model,
        data=pair,
        resume=resume,
        overwrite=overwrite,
        max_minutes=max_minutes,
        machine=machine,
        command="pixelrnn.train(...) in Python",
        bar=bar,
        on_validation=on_validation,
        callbacks=callbacks,
        loggers=loggers,
        trainer=trainer,
    )
    model.load_state_dict(best.state_dict())
    model.about = best.about
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # training had another layout
    return model.cpu().eval()


def _preset(
    model: PixelModel, name: str, values: int, binarise: str, condition: str, settings: dict[str, Any]
) -> Preset:
    config = model.config
    table = {
        "description": f"{config['network']} trained from Python",
        "data": {
            "name": name,
            "levels": model.levels,
            "values": values,
            "binarise": binarise,
            "condition": condition,
        },
        "model": {"network": config["network"], "head": config["head"], **config["options"]},
        "training": settings,
    }
    return preset_from(f"{config['network']} on {name}", table)


def _unwrapped(data: Any) -> Any:
    """The data set of a loader.

    Raises: ConfigError for a loader whose order or batches are its own, as a training has its own to resume
    """
    if not isinstance(data, DataLoader):
        return data
    if data.batch_size is None or not isinstance(data.sampler, RandomSampler | SequentialSampler):
        raise ConfigError(
            "A DataLoader with a sampler or batches of its own cannot be trained on: a training visits every image "
            "once in an epoch, in an order that depends on the seed, so that it can be resumed. Give its data set."
        )
    return data.dataset


def _checked(model: PixelModel, data: ImageData, classes: int) -> ImageData:
    """The data, if it fits the model.

    Raises: ConfigError if it does not
    """
    if (data.channels, data.size) != (model.channels, model.size):
        raise ConfigError(
            f"The model was built for {model.channels} channel(s) of {model.size[0]} x {model.size[1]}, but the images "
            f"of {data.name} have {data.channels} of {data.size[0]} x {data.size[1]}. Build it for their size."
        )
    if not classes:
        return data
    if data.labels is None:
        raise ConfigError(f"The model has {classes} classes, but {data.name} has no labels: give (image, label).")
    if len(data.class_names) > classes:
        raise ConfigError(
            f"{data.name} has {len(data.class_names)} classes, but the model {classes}: build it with "
            f"classes={len(data.class_names)}."
        )
    return data
