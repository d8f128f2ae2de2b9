"""CIFAR-10 in its binary version: records of one label byte and 3,072 pixel bytes (red, green, blue plane).

Source:  Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pixelrnn.data.cache import cached_array
from pixelrnn.data.images import Labels, Pixels
from pixelrnn.errors import DataError

PER_FILE = 10_000
_RECORD = 1 + 3 * 32 * 32
_TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST_FILES = ("test_batch.bin",)


def read_cifar_binary(source: Path, split: str) -> tuple[Pixels, Labels]:
    """One split from cifar-10-binary.tar.gz, or from the folder that it was unpacked to.

    train is the first 45,000 of the 50,000 training images, valid the other 5,000.

    Shapes:  -> (N, 3, 32, 32) uint8 and (N,) int64
    Raises:  DataError if a file is missing, damaged or of the wrong length
    """
    files = _TEST_FILES if split == "test" else _TRAIN_FILES
    if source.is_dir():
        records = _from_folder(source, files)
    else:
        records = cached_array(source, f"cifar10 records {files[0]}", lambda: _from_tar(source, files))
    edge = len(records) - PER_FILE // 2
    records = {"train": records[:edge], "valid": records[edge:], "test": records}[split]
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise DataError(f"{source} is damaged: a label is {labels.max()}, but 0..9 was expected. Get the file again.")
    return records[:, 1:].reshape(len(records), 3, 32, 32), labels


def _from_folder(folder: Path, files: tuple[str, ...]) -> Pixels:
    def contents() -> Iterator[bytes]:
        for name in files:
            path = folder / name
            try:
                _check_length(path.stat().st_size, str(path))
                yield path.read_bytes()
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}. Unpack the archive again.") from error

    return _records(contents(), len(files))


def _from_tar(archive_file: Path, files: tuple[str, ...]) -> Pixels:
    """Read the members into memory: nothing is ever unpacked to a path chosen by the archive."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive_file, "r:*") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name in files and member.isfile():
                    _check_length(member.size, f"{name} in {archive_file}")
                    stream = archive.extractfile(member)
                    assert stream is not None  # always so for a regular file
                    with stream:
                        found[name] = stream.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive_file} is damaged or not a tar archive ({error}). Get the file again.") from error
    missing = [name for name in files if name not in found]
    if missing:
        raise DataError(f"{archive_file} lacks {', '.join(missing)}. Get the binary version of CIFAR-10 again.")
    return _records((found[name] for name in files), len(files))


def _check_length(length: int, what: str) -> None:
    if length != PER_FILE * _RECORD:
        raise DataError(f"{what} has {length:,} bytes, but {PER_FILE * _RECORD:,} were expected. Get the file again.")


def _records(contents: Iterator[bytes], count: int) -> Pixels:
    records: Pixels = np.empty((count * PER_FILE, _RECORD), dtype=np.uint8)
    for number, content in enumerate(contents):
        if len(content) != PER_FILE * _RECORD:
            raise DataError("CIFAR-10 is truncated. Get the file again.")
        part = np.frombuffer(content, dtype=np.uint8).reshape(PER_FILE, _RECORD)
        records[number * PER_FILE : (number + 1) * PER_FILE] = part
    return records
