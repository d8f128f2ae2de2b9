"""The models of the page: those that were named, loaded when they are first used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel
from torch import Tensor

from pixelrnn.data import Levels
from pixelrnn.errors import ConditionError, ConfigError, ImageError
from pixelrnn.measure.inspection import pmf_at, seen_by
from pixelrnn.measure.scores import bits_of
from pixelrnn.model import PixelModel
from pixelrnn.model.model_folder import folder_of, read_config
from pixelrnn.model.orders import takes_known_first
from pixelrnn.networks import NETWORKS
from pixelrnn.sampling.settings import SamplingSettings
from pixelrnn.sampling.stage import Settled
from pixelrnn.web.requests import LOOKED_AT, WALKED, Complete, Interpolate, Look, LookAt, Picture, Sample
from pixelrnn.web.turns import Turns
from pixelrnn.web.walks import messages


class Card(BaseModel):
    """What the page says of a model."""

    name: str
    summary: str
    network: str
    height: int
    width: int
    channels: int
    levels: int
    parameters: int
    classes: list[str]
    any_order: bool
    """Whether completions begin with the known pixels, wherever they are."""
    encodes: bool
    """Whether it turns pictures into codes, between which samples are drawn."""
    compresses: bool
    figures: list[str]


class Walk(NamedTuple):
    """Images to be drawn, as what a visitor is told first, and then messages."""

    head: dict[str, Any]
    parts: Iterator[bytes]


class Served:
    """One model: its card, its turns, and what can be asked of it."""

    def __init__(self, name: str) -> None:
        self.given, self.name, self.turns = name, Path(name).name, Turns()
        config = read_config(folder_of(name))
        self._lock = threading.Lock()
        self._model: PixelModel | None = None
        about, options = config["about"], config["options"]
        classes = int(options.get("classes", 0))
        self.card = Card(
            name=self.name,
            summary=about.get("summary") or about.get("preset", {}).get("description") or config["network"],
            network=config["network"],
            height=config["size"][0],
            width=config["size"][1],
            channels=config["channels"],
            levels=config["levels"],
            parameters=config["parameters"],
            classes=about.get("class_names") or [str(number) for number in range(classes)] if classes else [],
            any_order=config["network"] in NETWORKS and takes_known_first(NETWORKS[config["network"]], about),
            encodes=bool(options.get("code_size")),
            compresses=config["exact"] is not None,
            figures=list(_figures(about)),
        )

    @property
    def model(self) -> PixelModel:
        """The model, loaded now if it was not yet."""
        with self._lock:
            if self._model is None:
                self._model = PixelModel.load(self.given)
            return self._model

    def walk(self, request: Sample | Complete | Interpolate) -> Walk:
        """The images that are asked for, as they are drawn.

        Raises: ImageError, ConditionError or ConfigError if the request does not fit the model
        """
        model = self.model
        settings: dict[str, Any] = {
            "temperature": request.temperature,
            "guidance": request.guidance,
            "seed": request.seed,
        }
        if request.label is not None:
            settings["label"] = request.label
        size, command = model.size, ""
        if isinstance(request, Sample):
            count = request.n
            _check_walked(count, size)
            images = torch.zeros(count, model.channels, *size, dtype=torch.uint8)
            if request.like is None:
                command = _command(self.given, request, self.card.classes)
            else:  # a command would crop and resize its picture a little differently
                settings |= self._end(request.like)
            events = model.generate(images, None, SamplingSettings(**settings))
        elif isinstance(request, Complete):
            count, picture = request.n, self.levels(request.picture)
            size = (picture.shape[2], picture.shape[3])
            _check_walked(count, size)
            known = request_mask(request.known, size)
            images = (picture * known).expand(count, -1, -1, -1).contiguous()
            mask = known.expand(count, 1, *size)
            events = model.generate(images, mask, SamplingSettings(**settings, order="auto"))
        else:
            count = request.steps * request.rows
            _check_walked(count, size)
            events = self._between(request, settings)
        head = {
            "images": count,
            "height": size[0],
            "width": size[1],
            "channels": model.channels,
            "levels": model.levels,
            "columns": request.steps if isinstance(request, Interpolate) else 0,
            "command": command,
        }
        return Walk(head, messages(events, size[1]))

    def _between(self, request: Interpolate, settings: dict[str, Any]) -> Iterator[Settled]:
        """Samples on the line between two codes: image row * steps + step; all steps share their random numbers."""
        model = self.model
        first, last = self._end(request.first), self._end(request.last)
        if first.keys() != last.keys():
            raise ConditionError("Samples lead from a class to a class, or from a picture to a picture.")
        (kind,) = first
        for step in range(request.steps):
            between = first[kind] + step / (request.steps - 1) * (last[kind] - first[kind])
            if kind == "vector" and model.encoder is not None and model.encoder.unit:
                between = F.normalize(between, dim=0)
            images = torch.zeros(request.rows, model.channels, *model.size, dtype=torch.uint8)
            for event in model.generate(images, None, SamplingSettings(**{**settings, kind: between})):
                yield event._replace(images=event.images * request.steps + step)

    def _end(self, end: Picture | int) -> dict[str, Tensor]:
        """The condition at one end: the code of a picture, or a class as shares of all."""
        model = self.model
        if isinstance(end, int):
            classes = 0 if model.condition is None else model.condition.classes
            if not 0 <= end < classes:
                raise ConditionError(f"{self.name} has no class {end}: it has {classes}.")
            return {"label": F.one_hot(torch.tensor(end), classes).to(model.dtype)}
        if model.encoder is None:
            raise ConditionError(f"{self.name} has no encoder, so it has no code of a picture.")
        levels = self.levels(end)
        if tuple(levels.shape[2:]) != model.size:
            raise ImageError(f"The picture must be {model.size[0]} x {model.size[1]}, the size of {self.name}.")
        return {"vector": model.encode(levels)[0].detach()}

    def look(self, request: Look) -> Tensor:
        """The bits per dimension of each pixel of a picture: (H, W)."""
        return bits_of(self.model, self._seen(request), **_condition(request))[0]

    def look_at(self, request: LookAt) -> dict[str, Any]:
        """What the model thinks of one pixel: see `app.Pixel`."""
        image = self._seen(request)
        height, width = image.shape[2:]
        if request.row >= height or request.column >= width:
            raise ImageError(f"There is no pixel ({request.row}, {request.column}) in {height} x {width}.")
        pmf = pmf_at(self.model, image[0], request.row, request.column, **_condition(request))
        values = image[0, :, request.row, request.column].long()
        bits = -pmf[torch.arange(len(values)), values].log2()
        seen = _field(self.model, request.row, request.column, (height, width))
        return {
            "values": values.tolist(),
            "bits": [round(each, 5) for each in bits.tolist()],
            "pmf": [[round(each, 6) for each in level] for level in pmf.tolist()],
            "seen": seen.flatten().nonzero().flatten().tolist(),
        }

    def levels(self, picture: Picture) -> Tensor:
        """A picture as levels (1, C, H, W); two levels by threshold, as on the command line."""
        model = self.model
        binarise = "threshold" if model.levels == 2 else None
        return torch.from_numpy(Levels(256, model.levels, binarise).fixed(picture.array(model.channels)[None]))

    def _seen(self, request: Look) -> Tensor:
        if request.picture.height * request.picture.width > LOOKED_AT:
            raise ImageError(f"To look at every pixel, a picture may have {LOOKED_AT:,} of them at most.")
        return self.levels(request.picture)


def request_mask(known: str, size: tuple[int, int]) -> Tensor:
    """Which pixels are known, (H, W) bool.

    Raises: ImageError if there are not as many bytes as pixels
    """
    found = Picture(height=size[0], width=size[1], pixels=known).array(1)
    return torch.from_numpy(found[0] > 0)


def _check_walked(count: int, size: tuple[int, int]) -> None:
    if count * size[0] * size[1] > WALKED:
        raise ImageError(
            f"{count} images of {size[0]} x {size[1]} are too many pixels for the page, which draws {WALKED:,} at "
            "most. Use the command line for more."
        )


def _condition(request: Look) -> dict[str, Any]:
    return {} if request.label is None else {"label": request.label}


@lru_cache(256)
def _field(model: PixelModel, row: int, column: int, size: tuple[int, int]) -> Tensor:
    return seen_by(model, row, column, size)


def _command(name: str, request: Sample, classes: list[str]) -> str:
    """The command that draws the same images."""
    parts = ["pixelrnn sample", quote(name), f"-n {request.n}", f"--seed {request.seed}"]
    if request.label is not None:
        named = classes[request.label] if request.label < len(classes) else str(request.label)
        parts.append(f"--label {quote(named)}")
    for option in ("temperature", "guidance"):
        if (value := getattr(request, option)) != 1:
            parts.append(f"--{option} {value:g}")
    return " ".join([*parts, "-o samples.png"])


def _figures(about: dict[str, Any]) -> Iterator[str]:
    """The measured figures of a model, as phrases."""
    for kind, unit in (("nats", "nats/image"), ("bits_per_dim", "bits/dim")):
        for where, value in dict(about.get(kind) or {}).items() if isinstance(about.get(kind), dict) else ():
            yield f"{value} {unit} ({where})"
    progress = about.get("progress") or {}
    if "valid_nats" in progress:
        yield f"{progress['valid_nats']:.2f} nats/image (validation)"


def named(names: list[str]) -> dict[str, Served]:
    """The models by name.

    Raises: ConfigError for two of one name; ModelFolderError if one is no model
    """
    found: dict[str, Served] = {}
    for each in map(Served, names):
        if each.name in found:
            raise ConfigError(f"Two models are called {each.name}: give one of their folders another name.")
        found[each.name] = each
    return found
