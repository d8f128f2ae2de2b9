"""shards.json, which says what a data set of shards holds; it is read as a file that nobody vouches for."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelrnn.data.images import SPLITS
from pixelrnn.errors import ConfigError, DataError
from pixelrnn.files import write_atomic

AGAIN = "Copy the data set again, or pack it again."
_NAME, _FORMAT, _VERSION = "shards.json", "pixelrnn-shards", 1
_LIMIT = 4 << 20  # bytes of shards.json: some 30,000 files
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.npy")


@dataclass(frozen=True)
class File:
    """A plain name inside the folder, the number of images in it or that it is about, the digest of its content."""

    file: str
    images: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """The files of images, in order, and the one of labels."""

    files: tuple[File, ...]
    labels: File | None

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(file.images for file in self.files)


@dataclass(frozen=True)
class Index:
    """What shards.json says: `values` is the number of values in the source, `image` (C, H, W)."""

    name: str
    values: int
    image: tuple[int, int, int]
    class_names: tuple[str, ...]
    splits: dict[str, Split]


def holds_shards(folder: Path) -> bool:
    """Whether a folder is a data set of shards, rather than one of pictures."""
    return (folder / _NAME).is_file()


def read_index(folder: Path) -> Index:
    """What a data set of shards holds.

    Raises:  DataError if shards.json is absent, damaged, too large, of something else or of a newer version
    """
    path = folder / _NAME
    try:
        if path.stat().st_size > _LIMIT:
            raise DataError(f"{path} is larger than {_LIMIT >> 20} MiB, so it was not written by this package.")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Is {folder} a packed data set?") from error
    try:
        table = json.loads(content)
        if not isinstance(table, dict) or table.get("format") != _FORMAT:
            raise DataError(f"{path} does not describe a data set of this package. Remove it, or give another folder.")
        if _whole(table["version"]) > _VERSION:
            raise DataError(
                f"{folder} was packed by a newer version of this package (format {table['version']}, this one reads "
                f"{_VERSION}). Update pixelrnn, or pack the data set again."
            )
        return _index_of(table)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {str(error)[:200]}). {AGAIN}") from error


def write_index(folder: Path, index: Index) -> None:
    """Write shards.json.

    Raises:  ConfigError if it would be too large to be read again; OSError if the folder cannot be written
    """
    table = {"format": _FORMAT, "version": _VERSION, **dataclasses.asdict(index)}
    content = (json.dumps(table, indent=1) + "\n").encode()
    if len(content) > _LIMIT:
        raise ConfigError("So many files cannot be listed. Make them larger:  --shard-mb")
    write_atomic(folder / _NAME, content)


def _index_of(table: dict[str, Any]) -> Index:
    """Raises ValueError, TypeError, KeyError or AttributeError if something is not what it should be."""
    channels, height, width = map(_whole, table["image"])
    values = _whole(table["values"])
    if not 2 <= values <= 256 or channels > 4:
        raise ValueError(f"{values} values in {channels} channels")
    splits = {split: _split_of(table["splits"][split]) for split in SPLITS if split in table["splits"]}
    if not splits:
        raise ValueError("no split")
    return Index(
        name=_text(table["name"]),
        values=values,
        image=(channels, height, width),
        class_names=tuple(map(_text, table["class_names"])),
        splits=splits,
    )


def _split_of(table: dict[str, Any]) -> Split:
    files = tuple(map(_file_of, table["files"]))
    found = Split(files, None if table["labels"] is None else _file_of(table["labels"]))
    if not files or (found.labels is not None and found.labels.images != found.images):
        raise ValueError("the numbers of images do not fit")
    return found


def _file_of(table: dict[str, Any]) -> File:
    file = File(_text(table["file"]), _whole(table["images"]), _text(table["sha256"]))
    if not _PLAIN_NAME.fullmatch(file.file):
        raise ValueError(f"{file.file!r} is no plain name of a file in the folder")
    return file


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} is no whole number above 0")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
