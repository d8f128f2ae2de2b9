"""Picture files from visitors: compressed and decompressed in memory, with the limits of the page."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np

from pixelrnn.codec import Reader, Writer
from pixelrnn.codec.files import Image, write_images
from pixelrnn.data.decode import decode_exactly
from pixelrnn.errors import CodecError, ImageError, PixelRNNError
from pixelrnn.exact import IntegerHead
from pixelrnn.model import PixelModel
from pixelrnn.web.requests import PIXELS


def compressed(model: PixelModel, name: str, data: bytes, of_picture: str = "") -> tuple[bytes, dict[str, int]]:
    """A picture file as a compressed file, and the bytes of the same pixels in other formats.

    `of_picture` is the name of the picture file, whose stem is kept.

    Raises: DataError or ImageError if it is no picture, too large, or holds more than pixels; CodecError if its colours
            are not the model's
    """
    if not isinstance(model.head, IntegerHead):
        raise CodecError(f"{name} is not an exact model, so it compresses nothing: see  pixelrnn quantise")
    pixels = _decoded(data)
    if len(pixels) != model.channels or model.levels != 256:
        kind = {1: "gray", 3: "RGB"}[len(pixels)]
        raise CodecError(f"The picture is {kind}, but {name} is for {model.channels} channel(s). Choose another model.")
    file = io.BytesIO()
    writer = Writer(file, model, name)
    write_images(writer, [Image(f"{_stem(of_picture)}.png", pixels)], _nothing)
    writer.close()
    return file.getvalue(), {"pixelrnn": len(file.getvalue()), **_sizes(pixels)}


def _stem(name: str) -> str:
    """The name of a file without its folder and its kind, as every file system takes it.

    >>> _stem("C:\\\\scans\\\\a slice 12:30.tif"), _stem("../..")
    ('a slice 12-30', 'picture')
    """
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name
    kept = "".join("-" if each in '/\\:*?"<>|' else each for each in stem if each.isprintable())
    return kept.encode()[:200].decode(errors="ignore").strip(". -") or "picture"


def decompressed(model: PixelModel, data: bytes) -> tuple[str, int, bytes]:
    """The name of the first picture of a compressed file, the number of its pictures, and the first one as PNG.

    Raises: CodecError if the file is damaged, of another model, or larger than the page takes
    """
    from PIL import Image as Pictures

    reader = Reader(io.BytesIO(data))
    reader.check_model(model)
    if model.channels not in (1, 3) or model.levels != 256:
        raise CodecError("The page shows pictures of 1 or 3 channels and 256 levels only.")
    blocks = reader.blocks()
    first = next(blocks, None)
    if first is None:
        raise CodecError("The file holds no picture.")
    if first.pixels > PIXELS:
        raise CodecError(f"The page takes {PIXELS:,} pixels at most. Use:  pixelrnn decompress FILE -o FOLDER")
    count = first.images + sum(block.images for block in blocks)  # each is forgotten before the next one is read
    picture = reader.decode(model, first, _nothing)[0]
    file = io.BytesIO()
    Pictures.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)).save(file, "PNG")
    return first.names[0] if first.names else "0", count, file.getvalue()


def _decoded(data: bytes) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            found: np.ndarray = decode_exactly(path, metadata=False, pixel_limit=PIXELS)
        except PixelRNNError as error:  # a visitor knows nothing of this machine's folders
            raise ImageError(
                f"{str(error).replace(str(path), 'The picture')} The page takes {PIXELS:,} pixels at most."
            ) from error
        return found


def _sizes(pixels: np.ndarray) -> dict[str, int]:
    """The bytes of pixels (C, H, W) in other lossless formats."""
    from PIL import Image as Pictures

    array = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    found = {}
    for name, options in (("PNG", {"optimize": True}), ("WebP", {"lossless": True, "quality": 100, "method": 6})):
        file = io.BytesIO()
        Pictures.fromarray(array).save(file, name, **options)
        found[name] = len(file.getvalue())
    try:
        from imagecodecs import jpegxl_encode
    except ImportError:
        return found
    return {**found, "JPEG XL": len(jpegxl_encode(array, lossless=True, effort=7))}


def _nothing(pixels: int) -> None:
    """No progress is shown."""
