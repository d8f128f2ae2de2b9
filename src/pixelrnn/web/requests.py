"""What a visitor may ask for, with its limits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pixelrnn.errors import ImageError

BODY = 5 << 20
"""Bytes of a request, at most."""
PIXELS = 4 << 20
"""Pixels of a picture, at most."""
WALKED = 1 << 18
"""Pixels of all images of a walk, at most."""
LOOKED_AT = 1 << 16
"""Pixels of an image whose every pixel is looked at, at most."""

Side = Annotated[int, Field(ge=1, le=4096)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: Annotated[str, Field(max_length=200, description="a name of GET /api/models")]
    label: Annotated[int | None, Field(ge=0, description="a class, if the model takes one")] = None


class Picture(BaseModel):
    """An image: bytes (H, W, C) in base64, 0..255, which become the levels of the model."""

    model_config = ConfigDict(extra="forbid")

    height: Side
    width: Side
    pixels: Annotated[str, Field(max_length=BODY)]

    def array(self, channels: int) -> npt.NDArray[np.uint8]:
        """(C, H, W) uint8.

        Raises: ImageError if there are not as many bytes as pixels and channels
        """
        try:
            data = base64.b64decode(self.pixels, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageError(f"The pixels are not base64: {error}.") from error
        expected = self.height * self.width * channels
        if len(data) != expected:
            raise ImageError(
                f"A picture of {self.height} x {self.width} with {channels} channel(s) has {expected} bytes, not "
                f"{len(data)}."
            )
        return np.frombuffer(data, np.uint8).reshape(self.height, self.width, channels).transpose(2, 0, 1).copy()


class _Walk(_Request):
    seed: Annotated[int, Field(ge=0, lt=2**53, description="the same seed gives the same images")] = 0
    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    guidance: Annotated[float, Field(ge=0, le=20)] = 1.0


class Sample(_Walk):
    """New images."""

    do: Literal["sample"]
    n: Annotated[int, Field(ge=1, le=64)] = 16
    like: Annotated[Picture | None, Field(description="a picture whose code conditions, if the model has one")] = None


class Complete(_Walk):
    """Completions of a partly known picture; `known` has a byte for each pixel, 0 where it is hidden, in base64."""

    do: Literal["complete"]
    picture: Picture
    known: Annotated[str, Field(max_length=BODY)]
    n: Annotated[int, Field(ge=1, le=16)] = 4


class Interpolate(_Walk):
    """Samples conditioned on codes between those of two pictures, or on shares of two classes."""

    do: Literal["interpolate"]
    first: Picture | int
    last: Picture | int
    steps: Annotated[int, Field(ge=2, le=16)] = 8
    rows: Annotated[int, Field(ge=1, le=4)] = 2


Walk = Annotated[Sample | Complete | Interpolate, Field(discriminator="do")]
WALK: TypeAdapter[Sample | Complete | Interpolate] = TypeAdapter(Walk)


def problem(errors: Sequence[Any]) -> str:
    """The first of the errors of pydantic in one sentence.

    >>> from pydantic import ValidationError
    >>> try:
    ...     WALK.validate_python({"do": "sample", "model": "mnist", "n": 65})
    ... except ValidationError as error:
    ...     print(problem(error.errors()))
    n must be less than or equal to 64, not 65.
    """
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", *_TAGS)) or "The request"
    if first["type"] == "missing":
        return f"{where} is missing."
    if first["type"] == "extra_forbidden":
        return f"{where} is not known here."
    if first["type"].startswith("union_tag"):
        return f"do must be one of {', '.join(_TAGS)}."
    if not first["msg"].startswith("Input should"):
        return f"{where}: {first['msg']}."
    came = repr(first["input"])
    return f"{where} {first['msg'].replace('Input should', 'must', 1)}" + (f", not {came}." if len(came) < 40 else ".")


_TAGS = tuple(get_args(each.model_fields["do"].annotation)[0] for each in (Sample, Complete, Interpolate))


class Look(_Request):
    """The bits of every pixel of a picture."""

    picture: Picture


class LookAt(Look):
    """What the model thinks of one pixel."""

    row: Annotated[int, Field(ge=0)]
    column: Annotated[int, Field(ge=0)]
