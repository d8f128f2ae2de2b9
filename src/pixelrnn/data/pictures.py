"""Single pictures: read one, read a mask, lay images out on a sheet, save it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pixelrnn.data.decode import decode, fitted_mask
from pixelrnn.data.images import Pixels, check_requested
from pixelrnn.errors import ConfigError, DataError, ImageError
from pixelrnn.files import replacing

if TYPE_CHECKING:
    import torch
    from PIL import Image

_GAP_GRAY = 128
_SHEET_WIDTH = 700  # pixels: a sheet is enlarged to about this width


def read_picture(
    path: str | Path, *, channels: int | None, size: tuple[int, int] | None = None, pixel_limit: int | None = None
) -> Pixels:
    """A picture file as bytes, read as in a folder of pictures (see `decode`).

    channels:     1 for gray, 3 for RGB; None: as in the file
    size:         (rows, columns) to crop and resize to; None: its own size
    pixel_limit:  the most pixels it may have; None: PIXELRNN_PIXEL_LIMIT, or 200,000,000
    Shapes:       -> (C, H, W) uint8, values 0..255
    Raises:       DataError if it is missing, unreadable or too large; ImageError if its values cannot be bytes;
                  ConfigError for an invalid size, channels or limit
    """
    check_requested(size, channels)
    return decode(Path(path), channels=channels, size=size, pixel_limit=pixel_limit)


def read_mask(path: str | Path, size: tuple[int, int], before: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """Which pixels are known: white (128 or more as gray) in a picture of any format; transparent counts as white.

    before:  the size (rows, columns) of the picture that the mask is for, before it was resized to `size`: a mask of
             that size is cropped and resized alike
    Shapes:  -> (H, W) bool, True = known
    Raises:  ImageError if the picture has neither size; DataError if it is missing or unreadable
    """
    check_requested(size, None)
    gray = decode(Path(path), channels=1)[0]
    if gray.shape == tuple(size):
        return np.asarray(gray >= 128)
    if before is not None and gray.shape == tuple(before):
        return fitted_mask(gray >= 128, size)
    original = f", or {before[0]} x {before[1]} as before they are resized," if before not in (None, size) else ""
    raise ImageError(
        f"The mask {path} is {gray.shape[0]} x {gray.shape[1]} (rows x columns), but {size[0]} x {size[1]}{original} "
        "was expected. Make it the size of the image."
    )


def grid(
    images: npt.NDArray[Any] | torch.Tensor,
    levels: int,
    columns: int | None = None,
    gap: int = 1,
    scale: int | None = None,
    rows_of: int | None = None,
) -> Image.Image:
    """A sheet of images on mid-gray, each pixel enlarged to a square.

    columns:  images per row; None: about as many as rows
    gap:      pixels between images, before enlargement
    scale:    side of that square; None: so that the sheet is about 700 pixels wide
    rows_of:  size of a group of images; each group begins a new row
    Shapes:   images (N, C, H, W) integers 0..levels-1; C of 1 is gray, 3 is RGB, other C are shown as C gray
              planes side by side
    Raises:   ImageError if the images have an invalid shape, type or range; ConfigError for a number out of range
    """
    from PIL import Image

    for name, value, least in (("levels", levels, 2), ("columns", columns, 1), ("gap", gap, 0)):
        _check_least(name, value, least)
    _check_least("scale", scale, 1)
    _check_least("rows_of", rows_of, 1)
    tiles = _tiles(images, levels)
    group = rows_of or len(tiles)
    columns = min(columns or rows_of or math.ceil(math.sqrt(len(tiles))), group)
    rows_per_group = math.ceil(group / columns)
    rows = (len(tiles) - 1) // group * rows_per_group + math.ceil(((len(tiles) - 1) % group + 1) / columns)
    height, width = tiles.shape[1:3]
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, *tiles.shape[3:])
    sheet = np.full(shape, _GAP_GRAY, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number % group, columns)
        top, left = gap + (number // group * rows_per_group + row) * (height + gap), gap + column * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    scale = scale or max(1, round(_SHEET_WIDTH / sheet.shape[1]))
    picture = Image.fromarray(sheet)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def check_place(path: Path) -> None:
    """Raises DataError if a file's folder is missing, a folder has the file's name, or the name is invalid."""
    try:
        taken, place = path.is_dir(), path.parent.is_dir()
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error
    if taken:
        raise DataError(f"{path} is a folder. Give the name of a file in it.")
    if not place:
        raise DataError(f"There is no folder {path.parent} to write {path.name} into. Create it first.")


def picture_format(path: Path) -> str:
    """The format of a picture's extension.

    Raises:  DataError if it is unknown, or the file cannot be written there
    """
    from PIL import Image

    found = Image.registered_extensions().get(path.suffix.lower())
    if found not in Image.SAVE or found is None:
        raise DataError(f"{path} has no extension of a picture format that can be written. Use .png, for example.")
    check_place(path)
    return found


def save_picture(picture: Image.Image, path: str | Path) -> None:
    """Write a picture in the format of its extension, atomically.

    Raises:  DataError if the extension is unknown or the file cannot be written
    """
    path = Path(path)
    found = picture_format(path)
    try:
        with replacing(path) as stream:
            picture.save(stream, format=found)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} cannot be written: {reason}. Choose another place or format.") from error
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} cannot hold a picture of mode {picture.mode}. Use .png.") from error


def _tiles(images: npt.NDArray[Any] | torch.Tensor, levels: int) -> Pixels:
    """(N, H, W) gray or (N, H, W, 3) colour bytes 0..255."""
    array: npt.NDArray[Any] = images if isinstance(images, np.ndarray) else images.detach().cpu().numpy()
    if array.ndim != 4 or 0 in array.shape:
        raise ImageError(f"A sheet is made of images (N, C, H, W) with at least one image, but got {array.shape}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise ImageError(f"A sheet is made of integers 0..{levels - 1}, but got {array.dtype}.")
    if array.min() < 0 or array.max() >= levels:
        raise ImageError(f"Images must hold 0..{levels - 1}, but got values from {array.min()} to {array.max()}.")
    table = np.round(np.arange(levels) * 255 / (levels - 1)).astype(np.uint8)
    values: Pixels = table[array]
    count, channels, height, width = values.shape
    if channels == 3:
        return values.transpose(0, 2, 3, 1)
    return values.transpose(0, 2, 1, 3).reshape(count, height, channels * width)


def _check_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigError(f"{name} of a sheet must be at least {least}, but got {value}.")
