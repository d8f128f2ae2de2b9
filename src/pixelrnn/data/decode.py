"""Decode one picture file to bytes with Pillow, with the limits that an untrusted file needs.

Only the first frame is read. EXIF orientation is applied. Transparency is composited onto white. 16-bit gray is scaled
to 8 bits. If a size is given, the picture is cropped around its centre to that aspect ratio, then resized.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pixelrnn.data.images import Pixels
from pixelrnn.errors import ConfigError, DataError, ImageError

if TYPE_CHECKING:
    from PIL import Image

PIXEL_LIMIT = 200_000_000  # pixels of one picture, unless PIXELRNN_PIXEL_LIMIT or an argument says otherwise

# Formats that Pillow cannot decode itself: EPS starts another program, the others need a plug-in or Windows.
_NOT_DECODED = {"EPS", "WMF", "EMF", "BUFR", "GRIB", "HDF5", "MPEG"}
_ORIENTATION = 0x0112
_GRAY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


@dataclass(frozen=True)
class Header:
    """What a picture's header says: size (H, W) as displayed, and whether it is gray."""

    size: tuple[int, int]
    gray: bool


def picture_formats() -> dict[str, str]:
    """The file extensions that can be read, in lower case with the dot, and Pillow's name for each format."""
    from PIL import Image

    known = Image.registered_extensions()
    return {end: name for end, name in known.items() if name in Image.OPEN and name not in _NOT_DECODED}


def read_header(path: Path, pixel_limit: int | None = None) -> Header:
    """The size of a picture and whether it is gray, without decoding it (except for a palette).

    Raises:  DataError if it is missing, unreadable or has more pixels than the limit
    """
    with _opened(path, pixel_limit) as picture:
        columns, rows = picture.size
        turned = picture.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
        return Header((columns, rows) if turned else (rows, columns), _is_gray(picture))


def decode(
    path: Path, *, channels: int | None = None, size: tuple[int, int] | None = None, pixel_limit: int | None = None
) -> Pixels:
    """A picture file as bytes.

    channels:  1 for gray, 3 for RGB; None: as in the file
    size:      (rows, columns) to crop and resize to; None: its own size
    Shapes:    -> (C, H, W) uint8, values 0..255
    Raises:    DataError if it is missing, unreadable or has more pixels than the limit;
               ImageError if its values cannot be bytes
    """
    with _opened(path, pixel_limit) as picture:
        from PIL import ImageOps

        channels = channels or (1 if _is_gray(picture) else 3)
        if size is not None and picture.width * picture.height > _LARGE:
            # A JPEG can be decoded at a half, a quarter or an eighth of its size, which saves time and memory.
            picture.draft(None, (_DRAFT * max(size), _DRAFT * max(size)))
        picture.load()
        _check_pixels(path, picture.size, _limit(pixel_limit))  # an icon may be larger than its header says
        flat = _flattened(ImageOps.exif_transpose(picture), path).convert("L" if channels == 1 else "RGB")
        fitted = flat if size is None else _fitted(flat, size)
        array = np.array(fitted, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def decode_exactly(path: Path, *, metadata: bool = True, pixel_limit: int | None = None) -> Pixels:
    """The very pixels of a picture of at most 8 bits per channel, gray or RGB: (C, H, W) uint8.

    Those of a palette are its colours, a single bit is 0 or 255.

    Arguments: metadata, refuse a picture with a colour profile or EXIF, which the pixels do not hold
    Raises:    DataError as `decode`; ImageError for a picture that is not only such pixels
    """
    with _opened(path, pixel_limit) as picture:
        transparent = picture.mode in ("RGBA", "LA", "PA") or picture.has_transparency_data
        what = "transparency" if transparent else ""
        if not what and picture.mode not in ("L", "RGB", "P", "1"):
            what = f"the mode {picture.mode}"
        frames = getattr(picture, "n_frames", 1)
        if not what and frames > 1:
            what = f"{frames} frames"
        if not what and _is_deeper(picture, path):
            what = "more than 8 bits per channel"
        if what:
            raise ImageError(
                f"{path} has {what}, but only gray and RGB pictures of 8 bits per channel are kept exactly. Convert it "
                "first."
            )
        held = [name for name in ("icc_profile", "exif", "xmp") if picture.info.get(name)]
        if metadata and held:
            raise ImageError(
                f"{path} holds {' and '.join(held)}, which would be lost: only pixels are kept. Give --pixels-only to "
                "leave the rest out."
            )
        picture.load()
        array = np.array(picture.convert("L" if _is_gray(picture) else "RGB"), dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _is_deeper(picture: Image.Image, path: Path) -> bool:
    """Whether the file has more than 8 bits per channel, though Pillow decodes it to 8: that is in what it gives its
    decoders, or for some formats in the header alone."""
    for decoder, _, _, arguments in getattr(picture, "tile", ()):
        several = arguments if isinstance(arguments, tuple) else (arguments,)
        if any(isinstance(each, str) and _DEEP_RAW_MODE.search(each) for each in several):
            return True
        if decoder.startswith("ppm") and any(isinstance(each, int) and each > 255 for each in several):  # the maximum
            return True
    if picture.format not in ("JPEG2000", "AVIF"):
        return False
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if picture.format == "AVIF":  # a box: version and flags, the number of channels, the bits of each
        where = head.find(b"pixi") + 8
        return where >= 8 and any(bits > 8 for bits in head[where + 1 : where + 1 + head[where]])
    # In the marker SIZ: the number of components, and three bytes of each, its depth less 1 first.
    where = head.find(b"\xff\x4f\xff\x51") + 42
    count = int.from_bytes(head[where - 2 : where])
    return where >= 42 and any((depth & 127) + 1 > 8 for depth in head[where : where + 3 * count : 3])


_DEEP_RAW_MODE = re.compile(";16[BLN]")


def _limit(pixel_limit: int | None) -> int:
    text = os.environ.get("PIXELRNN_PIXEL_LIMIT", PIXEL_LIMIT) if pixel_limit is None else pixel_limit
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise ConfigError(f"The pixel limit (PIXELRNN_PIXEL_LIMIT) must be a whole number above 0, but got {text!r}.")
    return limit


@contextmanager
def _opened(path: Path, pixel_limit: int | None) -> Iterator[Image.Image]:
    """An opened image within the limit; errors from decoding it inside the block become clear DataErrors."""
    from PIL import Image, UnidentifiedImageError

    limit = _limit(pixel_limit)
    formats = sorted(set(picture_formats().values()))
    try:
        # Pillow warns about odd files and about sizes; here a file is either read or refused with one clear message.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _own_limit(), path.open("rb") as stream, Image.open(stream, formats=formats) as picture:
                _check_pixels(path, picture.size, limit)
                yield picture
    except (DataError, ImageError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check its name.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Give a picture file that can be read.") from error
    except Exception as error:  # Pillow's decoders raise many kinds of errors on damaged files
        reason = str(error).split("\n")[0].replace(str(path), "the file")[:200]
        if isinstance(error, UnidentifiedImageError):
            reason = "not a known picture format"
        raise DataError(f"{path} cannot be read as a picture ({reason}). Replace or remove it.") from error


@contextmanager
def _own_limit() -> Iterator[None]:
    """Pillow's limit against decompression bombs is global, and may be lower than ours: it is lifted while we read and
    check a header."""
    from PIL import Image

    with _LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


_LOCK = threading.RLock()
_LARGE = 4_000_000  # pixels; above this, a picture that is to be reduced is decoded at a fraction of its size
_DRAFT = 4  # at least this many times the requested size, so that the resizing filter determines the quality


def _check_pixels(path: Path, size: tuple[int, int], limit: int) -> None:
    columns, rows = size
    if rows * columns > limit:
        raise DataError(_too_large(path, f"{rows} x {columns} = {rows * columns:,} pixels", limit))


def _too_large(path: Path, what: str, limit: int) -> str:
    return f"{path} has {what}, but at most {limit:,} are read. Make it smaller, or raise PIXELRNN_PIXEL_LIMIT."


def _is_gray(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        palette = picture.getpalette("RGB") or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return picture.mode in _GRAY_MODES


def _flattened(picture: Image.Image, path: Path) -> Image.Image:
    """Without transparency and with 8 bits per channel, in any colour mode."""
    from PIL import Image

    if picture.mode == "F":
        raise ImageError(
            f"{path} holds floating point values, but only 8 or 16 bit integers can be read. Save it with 8 bits per "
            "channel."
        )
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ImageError(f"{path} holds values outside 0..65535. Save it with 8 or 16 bits per channel.")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def fitted_mask(known: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A mask cropped and resized as its picture is: a pixel is known if all that it is made of is."""
    from PIL import Image, ImageOps

    mask = Image.fromarray(np.where(known, 255, 0).astype(np.uint8))
    return np.asarray(ImageOps.fit(mask, (size[1], size[0]), method=Image.Resampling.BOX)) == 255


def _fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cropped around the centre to the proportions of `size` (rows, columns), then resized."""
    from PIL import Image, ImageOps

    rows, columns = size
    if picture.size == (columns, rows):
        return picture
    scale = min(picture.width / columns, picture.height / rows)
    # Reduction by a whole number averages blocks exactly; anything else uses an anti-aliasing filter.
    way = Image.Resampling.BOX if scale > 1 and scale.is_integer() else Image.Resampling.LANCZOS
    return ImageOps.fit(picture, (columns, rows), method=way)
