"""Files of public data sets that are downloaded if the user has no copy: their addresses and checksums.

This is our own table around `pooch.retrieve`, as a file may have several addresses, which are tried in turn; a pooch
registry has only one per file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pixelrnn.data.cache import cache_folder
from pixelrnn.data.images import ProgressCallback
from pixelrnn.errors import DownloadError

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two chunks of a response


@dataclass(frozen=True)
class RemoteFile:
    """A published file: the base addresses to try in turn (each ends with /), and its MD5."""

    bases: tuple[str, ...]
    md5: str


REMOTE: dict[str, RemoteFile] = {
    "train-images-idx3-ubyte.gz": RemoteFile((_MNIST,), "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": RemoteFile((_MNIST,), "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": RemoteFile((_MNIST,), "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": RemoteFile((_MNIST,), "ec29112dd5afa0611ce80d1b7f02629c"),
    "cifar-10-binary.tar.gz": RemoteFile((_CIFAR,), "c32a1d4ab5d03f1284b67883e8d87530"),
}


def fetch(name: str, *, instead: str, progress: ProgressCallback | None = None) -> Path:
    """The path of the file `name` of REMOTE in the cache, downloaded and verified first if it is not there.

    instead:  the files that a user can put into the PIXELRNN_DATA folder instead, for the message
    Raises:   DownloadError if it cannot be downloaded, or its checksum is wrong
    """
    remote = REMOTE[name]
    reasons = []
    for base in remote.bases:
        try:
            return _retrieve(base + name, name, remote.md5, progress)
        except (OSError, ValueError) as error:  # requests' own errors are OSErrors, a wrong checksum is a ValueError
            reasons.append(f"{base}: {_reason(error)}")
    raise DownloadError(
        f"{name} could not be downloaded ({'; '.join(reasons)}). Try again later, "
        f"or set the environment variable PIXELRNN_DATA to a folder that holds {instead}."
    )


def _retrieve(url: str, name: str, md5: str, progress: ProgressCallback | None) -> Path:
    import pooch

    bar = None if progress is None else _Bar(name, progress)
    downloader = pooch.HTTPDownloader(progressbar=bar or False, timeout=TIMEOUT, chunk_size=1 << 16)
    folder = cache_folder() / "downloads"
    with _quiet(pooch.get_logger):
        return Path(pooch.retrieve(url, f"md5:{md5}", fname=name, path=folder, downloader=downloader))


@contextmanager
def _quiet(get_logger: Callable[[], logging.Logger]) -> Iterator[None]:
    """pooch announces each download on standard error; only the command line may write there."""
    logger = get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    if type(error).__module__.startswith("requests"):
        return f"no connection, {type(error).__name__}"
    if isinstance(error, OSError):
        return f"the cache folder cannot be written, {error.strerror or error}; set PIXELRNN_CACHE to one that can"
    return "the downloaded file is not the published one: its checksum is wrong"


class _Bar:
    """pooch's progress bar protocol (total, update, reset, close) on top of one callable."""

    def __init__(self, description: str, report: ProgressCallback) -> None:
        self.total = 0  # set by pooch once the server has responded
        self._done = 0
        self._description = description
        self._report = report

    def update(self, count: int) -> None:
        # pooch counts full chunks, even for the last one
        self._done = min(self._done + count, self.total or self._done + count)
        self._report(self._description, self._done, self.total)

    def reset(self) -> None:
        # pooch ends every bar with reset() and update(total); without a total, the count so far is kept
        self._done = 0 if self.total else self._done

    def close(self) -> None:
        """Nothing to close."""
