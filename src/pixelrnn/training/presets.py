"""Presets: a whole training as a TOML file, by name or by path.

description = "one line for `pixelrnn list presets`"
source = "where the settings come from"
assumed = ["training.learning_rate"]     # what the source leaves open

[data]        see DataSettings
[model]       network, head and the network's own options
[training]    see TrainingSettings
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from pixelrnn.data.conditions import CONDITIONS
from pixelrnn.errors import ConfigError, unknown
from pixelrnn.fields import Dropout, Strict, validated


def _as_string(value: Any) -> Any:
    """`--set precision=32` is a number in TOML."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class DataSettings(Strict):
    """What is learned from."""

    name: str = Field(
        default="mnist",
        description="what is learned from: a built-in data set, a folder of pictures, an .npz or .npy file",
    )
    levels: int = Field(default=256, description="number of values that a pixel of the model can have, 2 to 256")
    binarise: str = Field(
        default="", description='how pixels become 2 levels: "stochastic", "fixed" or "threshold"; "" for more levels'
    )
    size: list[int] = Field(
        default_factory=list,
        description="[H, W] that pictures of a folder are cropped and resized to; [] for their own size",
    )
    channels: int = Field(
        default=0, description="colour channels of the pictures of a folder, 1 or 3; 0 for the pictures' own"
    )
    values: int = Field(
        default=0,
        description="number of values that a pixel of an array file can have, such as 4 for 0..3; 0 for what the data "
        "set says, which is 256 for a file",
    )
    condition: str = Field(
        default="",
        description='what the model is conditioned on: the "class" of the image, the image at "half" its size, the '
        'image with a "blur"; "" for nothing',
    )
    leave_out: list[str] = Field(
        default_factory=list, description="names of classes whose images are left out, to find them by their score"
    )
    skip_broken: bool = Field(default=False, description="leave out pictures of a folder that cannot be read")


_AtLeast0 = Annotated[float, Field(ge=0)]
_Whole0 = Annotated[int, Field(ge=0)]
_Whole1 = Annotated[int, Field(ge=1)]


class TrainingSettings(Strict):
    """How it is learned."""

    epochs: _Whole1 = Field(default=20, description="passes over the training images")
    batch_size: _Whole1 = Field(default=64, description="batch size, in images")
    accumulate: _Whole1 = Field(
        default=1, description="batches per optimizer step, for steps on more images than fit into memory"
    )
    optimizer: Literal["adam", "adamw", "muon", "rmsprop"] = Field(
        default="adam",
        description='optimizer: "adam", "adamw", "rmsprop", "muon" (for the weights between feature maps, adamw '
        "for all others)",
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(default=1e-3, description="peak learning rate")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine",
        description='schedule of the learning rate: "cosine" (to zero at the end of the epochs, or of the time limit) '
        'or "constant"',
    )
    warmup: _Whole0 = Field(
        default=100, description="steps over which the learning rate rises from zero, at most a fifth of all steps"
    )
    weight_decay: _AtLeast0 = Field(default=0.0, description="weight decay, for adamw and muon only")
    ema: Dropout = Field(
        default=0.999,
        description="decay of the exponential moving average of the weights, which is validated and saved (lower in "
        "the first steps); 0 for no average",
    )
    clip: _AtLeast0 = Field(
        default=1.0,
        description="largest norm of the gradient (of the mean nats per pixel and colour), to which it is clipped; 0 "
        "for no clipping",
    )
    orders: Literal["", "raster", "s-curves", "random", "completion"] = Field(
        default="",
        description='generation orders of a network that takes any, a new one for each batch: "raster", "s-curves", '
        '"random", or "completion" (what a random mask shows first); "" for its own, the option "order" of the model',
    )
    mirror: bool = Field(default=False, description="mirror each image left to right with probability 1/2")
    mutation: Dropout = Field(
        default=0.0,
        description="probability with which a value of an image is replaced by any other, for the background model of "
        "a likelihood ratio",
    )
    encoder_steps: _Whole0 = Field(
        default=0,
        description="steps for which the encoder is first trained alone, to tell the classes apart (triplet loss), "
        "before it is frozen; 0 to train it with the rest of the model",
    )
    encoder_rate: Annotated[float, Field(gt=0)] = Field(default=1e-3, description="learning rate of the encoder steps")
    margin: _AtLeast0 = Field(default=0.2, description="margin of the triplet loss, in the encoder steps")
    center: _AtLeast0 = Field(default=0.0, description="weight of the center loss that is added to it")
    precision: Annotated[Literal["32", "bf16"], BeforeValidator(_as_string)] = Field(
        default="bf16",
        description='precision: "32" for float32, or "bf16" for matrix products in bfloat16 (likelihoods and '
        "validation stay in float32)",
    )
    seed: _Whole0 = Field(
        default=0, description="seed of the initial weights, the order of the images, binarisation and dropout"
    )


T = TypeVar("T", DataSettings, TrainingSettings)


class Preset(Strict):
    """A whole training, every value resolved; `model` holds network, head (may be "") and the network's options."""

    name: str
    description: str = ""
    source: str = ""
    assumed: list[str] = Field(default_factory=list)
    data: DataSettings
    model: dict[str, Any]
    training: TrainingSettings

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return self.model_dump()


def preset_names() -> list[str]:
    """The presets that come with the package."""
    files = resources.files("pixelrnn.presets").iterdir()
    return sorted(each.name.removesuffix(".toml") for each in files if each.name.endswith(".toml"))


def load_preset(name: str, changes: list[str] | None = None) -> Preset:
    """A preset by its name or the path of a TOML file, with `key=value` changes.

    A key is written in full ("training.epochs") or by its last part ("epochs"); what is not a key of data or training
    is an option of the network. Values are TOML; a bare word is a string. If `network` is changed, the preset's options
    that the other network does not have are left out.

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
    own = dict(table.get("model", {}))
    for change in changes or []:
        _change(table, change)
    _leave_out(table.get("model", {}), own)
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
    return Preset(
        name=name,
        description=str(table.get("description", "")),
        source=str(table.get("source", "")),
        assumed=[str(each) for each in table.get("assumed", [])],
        data=data,
        model=model,
        training=training,
    )


def _leave_out(model: dict[str, Any], own: dict[str, Any]) -> None:
    """Removes options that only the preset's own network has, if the network is another now."""
    from pixelrnn.networks import NETWORKS, options_of  # here, as they bring torch along

    before, now = own.get("network"), model.get("network")
    if now != before and before in NETWORKS and now in NETWORKS:
        for key in set(options_of(before)) - set(options_of(now)):
            if key in own and model.get(key) == own[key]:
                del model[key]


def _check_tables(name: str, table: dict[str, Any]) -> None:
    for key, value in table.items():
        if key not in _KEYS:
            raise unknown(f"key of the preset {name}", key, _KEYS)
        if not isinstance(value, _KEYS[key]):
            raise ConfigError(f"{key} in the preset {name} must be {_KIND_NAMES[_KEYS[key].__name__]}, not {value!r}.")


def _check_model(model: dict[str, Any]) -> None:
    from pixelrnn.heads import HEADS, head_options  # here, as they bring torch along
    from pixelrnn.model.options import COLOURS, CONDITION
    from pixelrnn.networks import default_head, options_of

    head = model.get("head") or default_head(model["network"], 2)  # where levels decide, no head has options
    options = {"network", "head", *options_of(model["network"]), *(head_options(HEADS[head]) if head in HEADS else ())}
    options |= {COLOURS, *CONDITION}
    elsewhere = {*DataSettings.model_fields, *TrainingSettings.model_fields}
    for key in model:
        if key not in options:
            raise unknown("setting", key, options | elsewhere, where=f" with the network {model['network']}")


def _settings(kind: type[T], table: dict[str, Any], section: str) -> T:
    return validated(kind, table, f"key of [{section}]", prefix=f"{section}.")


_KEYS: dict[str, type] = {
    "name": str,
    "description": str,
    "source": str,
    "assumed": list,
    "data": dict,
    "model": dict,
    "training": dict,
}
_KIND_NAMES = {"str": "a string", "list": "a list", "dict": "a table like [training]"}


def parse_change(change: str) -> tuple[str, Any]:
    """KEY=VALUE: the key, and the value as TOML; a bare word is a string.

    Raises: ConfigError if it is not of that form
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes KEY=VALUE, for example --set layers=7, but got {change!r}.")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    return key.strip(), value


def _change(table: dict[str, Any], change: str) -> None:
    key, value = parse_change(change)
    section, dot, last = key.rpartition(".")
    if not dot:
        sections: dict[str, type[Strict]] = {"data": DataSettings, "training": TrainingSettings}
        section = next((each for each, kind in sections.items() if last in kind.model_fields), "model")
    if section not in ("data", "model", "training"):
        raise unknown("section", section, ("data", "model", "training"))
    table.setdefault(section, {})[last] = value
