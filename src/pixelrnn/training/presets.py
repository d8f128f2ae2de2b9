"""Presets: a whole training as a TOML file, by name or by path.

description = "one line for `pixelrnn list presets`"
source = "where the settings come from"
assumed = ["training.learning_rate"]     # what the source leaves open

[data]        see DataSettings
[model]       network, head and the network's own options
[training]    see TrainingSettings
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pixelrnn.errors import ConfigError, unknown


@dataclass(frozen=True)
class DataSettings:
    """What is learned from.

    name      a built-in set, a folder of pictures, an .npz or .npy file
    levels    values of a pixel that the model knows, 2 to 256
    binarise  for 2 levels: "stochastic", "fixed" or "threshold"; "" for none
    size      [H, W] to crop and resize the pictures of a folder to; [] for the pictures' own
    channels  1 or 3, for a folder of pictures; 0 for the pictures' own
    values    of a pixel in an array file, if they are not bytes 0..255: 4 for 0..3; 0 for what the data set says
    condition what the model is told of an image: "class", "half" (it at half its size), "blur", or "" for nothing
    """

    name: str = "mnist"
    levels: int = 256
    binarise: str = ""
    size: list[int] = field(default_factory=list)
    channels: int = 0
    values: int = 0
    condition: str = ""


@dataclass(frozen=True)
class TrainingSettings:
    """How it is learned.

    epochs         passes over the training images
    batch_size     images that are computed at once
    accumulate     so many batches make one step: for steps of more images than fit into memory
    optimizer      "adam", "adamw" or "rmsprop"
    learning_rate  at its highest
    schedule       "cosine" (to zero at the end of the epochs, or of the time limit) or "constant"
    warmup         steps over which the learning rate rises from zero, a fifth of all steps at the most
    weight_decay   of adamw
    ema            decay of the moving average of the weights that is validated and saved (less in the first steps);
                   0 for none
    clip           largest norm of the gradient of the mean nats per pixel and colour; 0 for none
    mirror         show every other image, by chance, mirrored left to right
    encoder_steps  the encoder first learns for so many steps to tell the data's classes apart (triplet loss), and then
                   stays as it is; 0: it is learned with the rest
    encoder_rate   learning rate of these steps
    margin         of the triplet loss
    center         weight of the center loss beside it
    precision      "32", or "bf16": matrix products in bfloat16, likelihoods and validation in float32
    seed           of the first weights, the order of the images, binarisation and dropout
    """

    epochs: int = 20
    batch_size: int = 64
    accumulate: int = 1
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: int = 100
    weight_decay: float = 0.0
    ema: float = 0.999
    clip: float = 1.0
    mirror: bool = False
    encoder_steps: int = 0
    encoder_rate: float = 1e-3
    margin: float = 0.2
    center: float = 0.0
    precision: str = "bf16"
    seed: int = 0


T = TypeVar("T", DataSettings, TrainingSettings)

CONDITIONS = ("", "class", "half", "blur")
CHOICES = {
    "optimizer": ("adam", "adamw", "rmsprop"),
    "schedule": ("cosine", "constant"),
    "precision": ("32", "bf16"),
}
_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "accumulate": 1,
    "warmup": 0,
    "weight_decay": 0,
    "ema": 0,
    "clip": 0,
    "seed": 0,
    "encoder_steps": 0,
    "margin": 0,
    "center": 0,
}


@dataclass(frozen=True)
class Preset:
    """A whole training, every value resolved; `model` holds network, head (may be "") and the network's options."""

    name: str
    description: str
    source: str
    assumed: list[str]
    data: DataSettings
    model: dict[str, Any]
    training: TrainingSettings

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def preset_names() -> list[str]:
    """The presets that come with the package."""
    files = resources.files("pixelrnn.presets").iterdir()
    return sorted(each.name.removesuffix(".toml") for each in files if each.name.endswith(".toml"))


def load_preset(name: str, changes: list[str] | None = None) -> Preset:
    """A preset by its name or the path of a TOML file, with `key=value` changes.

    A key is written in full ("training.epochs") or by its last part ("epochs"); what is not a key of data or training
    is an option of the network. Values are TOML; a bare word is a string.

    Raises: ConfigError for an unknown preset or key, or a value out of its range
    """
    path = Path(name)
    if name.endswith(".toml"):
        if not path.is_file():
            raise ConfigError(f"There is no preset file {name}. The presets by name: {', '.join(preset_names())}.")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The preset file {name} cannot be read as text: {error}.") from error
    elif name in preset_names():
        text = resources.files("pixelrnn.presets").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise unknown("preset", name, preset_names(), "List them:  pixelrnn list presets")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The preset {name} is not valid TOML: {error}.") from error
    _check_tables(name, table)
    for change in changes or []:
        _change(table, change)
    return preset_from(path.stem if name.endswith(".toml") else name, table)


def preset_from(name: str, table: dict[str, Any]) -> Preset:
    """A preset from its tables, every key and value checked.

    Raises: ConfigError for an unknown key, or a value out of its range
    """
    _check_tables(name, table)
    model = dict(table.get("model", {}))
    if not isinstance(model.get("network"), str):
        raise ConfigError(f'The preset {name} needs a network:  [model]  network = "gated-pixelcnn"')
    _check_model(model)
    data = _settings(DataSettings, table.get("data", {}), "data")
    if data.condition not in CONDITIONS:
        raise unknown("data.condition", data.condition, [each for each in CONDITIONS if each])
    training = _settings(TrainingSettings, table.get("training", {}), "training")
    _check_training(training)
    return Preset(
        name=name,
        description=str(table.get("description", "")),
        source=str(table.get("source", "")),
        assumed=[str(each) for each in table.get("assumed", [])],
        data=data,
        model=model,
        training=training,
    )


def _check_tables(name: str, table: dict[str, Any]) -> None:
    for key, value in table.items():
        if key not in _KEYS:
            raise unknown(f"key of the preset {name}", key, _KEYS)
        if not isinstance(value, _KEYS[key]):
            raise ConfigError(f"{key} in the preset {name} must be {_KIND_NAMES[_KEYS[key].__name__]}, not {value!r}.")


def _check_model(model: dict[str, Any]) -> None:
    from pixelrnn.heads import HEADS, head_options  # here, as they bring torch along
    from pixelrnn.model.options import CONDITION
    from pixelrnn.networks import default_head, options_of

    head = model.get("head") or default_head(model["network"], 2)  # where levels decide, no head has options
    options = {"network", "head", *options_of(model["network"]), *(head_options(HEADS[head]) if head in HEADS else ())}
    options |= set(CONDITION)
    elsewhere = {each.name for kind in (DataSettings, TrainingSettings) for each in dataclasses.fields(kind)}
    for key in model:
        if key not in options:
            raise unknown(f"option of {model['network']}", key, options | elsewhere)


def _settings(kind: type[T], table: dict[str, Any], section: str) -> T:
    fields = {each.name: each for each in dataclasses.fields(kind)}
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise unknown(f"key of [{section}]", key, fields)
        values[key] = _of_kind(f"{section}.{key}", value, str(fields[key].type))
    return kind(**values)


def _of_kind(key: str, value: Any, kind: str) -> Any:
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == "str" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    fits = {"int": int, "float": float, "str": str, "list[int]": list, "bool": bool}[kind]
    if not isinstance(value, fits) or (isinstance(value, bool) and kind != "bool"):
        raise ConfigError(f"{key} must be {_KIND_NAMES[kind]}, not {value!r}.")
    return value


_KEYS: dict[str, type] = {
    "name": str,
    "description": str,
    "source": str,
    "assumed": list,
    "data": dict,
    "model": dict,
    "training": dict,
}
_KIND_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "list[int]": "a list like [28, 28]",
    "bool": "true or false",
    "dict": "a table like [training]",
}


def _check_training(settings: TrainingSettings) -> None:
    for key, choices in CHOICES.items():
        if getattr(settings, key) not in choices:
            raise unknown(f"training.{key}", getattr(settings, key), choices)
    for key, least in _LEAST.items():
        if not getattr(settings, key) >= least:
            raise ConfigError(f"training.{key} must be {least} or more, not {getattr(settings, key)}.")
    if not 0 < settings.learning_rate < float("inf"):
        raise ConfigError(f"training.learning_rate must be above 0, not {settings.learning_rate}.")
    if not settings.ema < 1:
        raise ConfigError(f"training.ema must be below 1 (0 for none), not {settings.ema}.")


def parse_change(change: str) -> tuple[str, Any]:
    """KEY=VALUE: the key, and the value as TOML; a bare word is a string.

    Raises: ConfigError if it is not of that form
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes KEY=VALUE, for example --set layers=7, but {change!r} came.")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    return key.strip(), value


def _change(table: dict[str, Any], change: str) -> None:
    key, value = parse_change(change)
    section, dot, last = key.rpartition(".")
    if not dot:
        names = {"data": dataclasses.fields(DataSettings), "training": dataclasses.fields(TrainingSettings)}
        section = next((each for each, keys in names.items() if last in [key.name for key in keys]), "model")
    if section not in ("data", "model", "training"):
        raise unknown("section", section, ("data", "model", "training"))
    table.setdefault(section, {})[last] = value
