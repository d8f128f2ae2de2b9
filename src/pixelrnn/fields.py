"""Options and settings: their ranges stand in pydantic fields, and whatever does not fit is one clear sentence."""

from __future__ import annotations

import functools
import inspect
import numbers
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from pixelrnn.errors import ConfigError, unknown

M = TypeVar("M", bound="Strict")


def _odd(value: Any) -> Any:
    """Refuses an even number, before it is looked at further."""
    if isinstance(value, int) and value % 2 == 0:
        raise ValueError("even")
    return value


ODD = BeforeValidator(_odd)
Layers = Annotated[int, Field(ge=1, le=1000)]
Width = Annotated[int, Field(ge=1, le=16384)]
OptionalWidth = Annotated[int, Field(ge=0, le=16384)]
"""Feature maps; 0 for what the network takes by itself."""
Kernel = Annotated[int, Field(ge=3, le=99), ODD]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=1024)]


class Strict(BaseModel):
    """Settings that are checked when they are made: no unknown key, no value of another type, none out of its range."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@functools.cache
def options_of_call(call: Any) -> type[Strict]:
    """The keyword-only parameters of a class or function as a model; their ranges are those of their annotations.

    >>> def network(head, *, layers: Layers, skip: bool = True): ...
    >>> options_of_call(network)(layers=3)
    networkOptions(layers=3, skip=True)
    """
    function = call.__init__ if inspect.isclass(call) else call
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    fields: dict[str, Any] = {
        each.name: (hints[each.name], ... if each.default is inspect.Parameter.empty else each.default)
        for each in parameters
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(f"{call.__name__}Options", __base__=Strict, **fields)


def validated(
    model: type[M], values: Mapping[str, Any], kind: str, *, prefix: str = "", known: Iterable[str] | None = None
) -> M:
    """Settings of these values.

    Arguments: kind, what a key is, for the message about an unknown one; prefix, of keys in messages; known, keys that
               are suggested besides the model's own
    Raises:    ConfigError, one sentence, with the nearest name for an unknown key

    >>> class Training(Strict):
    ...     epochs: Annotated[int, Field(ge=1)] = 20
    >>> validated(Training, {"epochs": 0}, "key of [training]", prefix="training.")
    Traceback (most recent call last):
        ...
    pixelrnn.errors.ConfigError: training.epochs must be a whole number, 1 or more, not 0.
    """
    plain = {key: _plain(value) for key, value in values.items()}
    for key in plain:
        if key not in model.model_fields:
            raise unknown(kind, key, {*model.model_fields, *(known or ())})
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "missing":
            raise ConfigError(f"{prefix}{key} is missing: it must be {expected(model.model_fields[key])}.") from None
        value, field = values[key], model.model_fields[key]
        if typing.get_origin(field.annotation) is Literal and isinstance(value, str | int):
            choices = [each for each in typing.get_args(field.annotation) if each]
            raise unknown(f"{prefix}{key}", value, choices) from None
        raise ConfigError(f"{prefix}{key} must be {expected(field)}, not {value!r}.") from None


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    if isinstance(value, int | float):
        return value
    return int(value) if isinstance(value, numbers.Integral) else value


def expected(field: FieldInfo) -> str:
    """What a field takes, in words.

    >>> class Settings(Strict):
    ...     share: Dropout = 0.0
    >>> expected(Settings.model_fields["share"])
    'a number from 0 to below 1'
    """
    kinds = {int: "whole number", float: "number", bool: "true or false", str: "a string", dict: "a table"}
    annotation: Any = field.annotation
    if typing.get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(each) for each in typing.get_args(annotation) if each)
    if annotation not in (int, float):
        return kinds.get(typing.get_origin(annotation) or annotation, "a list like [28, 28]")
    bounds = {
        name: getattr(each, name) for each in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(each, name)
    }
    least, most = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    text = f"an odd {kinds[annotation]}" if ODD in field.metadata else f"a {kinds[annotation]}"
    if least is not None and most is not None:
        return f"{text} from {least} to {'below ' if 'lt' in bounds else ''}{most}"
    if "gt" in bounds:
        return f"{text} above {least}"
    return text if least is None else f"{text}, {least} or more"
