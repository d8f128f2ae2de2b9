"""Downloads, from a server on the loopback interface."""

from __future__ import annotations

import hashlib
import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from pixelrnn.data import download
from pixelrnn.data.download import RemoteFile, fetch
from pixelrnn.errors import DownloadError

CONTENT = bytes(range(256)) * 1000


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "data.gz").write_bytes(CONTENT)
    handler = partial(QuietHandler, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets where data.gz is fetched from."""
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def at(*bases: str, md5: str = hashlib.md5(CONTENT).hexdigest()) -> None:
        for name in ("data.gz", "absent.gz"):
            monkeypatch.setitem(download.REMOTE, name, RemoteFile(bases, md5))

    return at


@pytest.fixture
def dead() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


def test_a_file_is_fetched_into_the_cache_and_not_twice(
    server: str, table: Callable[..., None], tmp_path: Path
) -> None:
    table(server)
    path = fetch("data.gz", instead="data.npz")
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "cache")
    (tmp_path / "site" / "data.gz").unlink()
    assert fetch("data.gz", instead="data.npz") == path


def test_a_damaged_file_in_the_cache_is_fetched_again(server: str, table: Callable[..., None]) -> None:
    table(server)
    fetch("data.gz", instead="data.npz").write_bytes(b"damaged")
    assert fetch("data.gz", instead="data.npz").read_bytes() == CONTENT


def test_progress_counts_the_bytes_up_to_all_of_them(server: str, table: Callable[..., None]) -> None:
    table(server)
    calls = []
    fetch("data.gz", instead="data.npz", progress=lambda *news: calls.append(news))
    assert len(calls) > 1
    assert calls[-1] == ("data.gz", len(CONTENT), len(CONTENT))
    done = [count for _, count, _ in calls]
    assert done == sorted(done)


def test_nothing_is_written_on_the_terminal(
    server: str, table: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    table(server)
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(sys, "stdout", written)
    # pooch's own handler keeps the standard error of the time it was imported
    monkeypatch.setattr(pooch.get_logger(), "handlers", [logging.StreamHandler(written)])
    fetch("data.gz", instead="data.npz")
    assert written.getvalue() == ""


def test_a_wrong_checksum_is_an_error_and_leaves_no_file(
    server: str, table: Callable[..., None], tmp_path: Path
) -> None:
    table(server, md5="0" * 32)
    with pytest.raises(DownloadError, match=r"its checksum is wrong.*PIXELRNN_DATA to a folder that holds data.npz"):
        fetch("data.gz", instead="data.npz")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_file_that_the_server_lacks_is_an_error(server: str, table: Callable[..., None]) -> None:
    table(server)
    with pytest.raises(DownloadError, match=r"the server answered 404.*PIXELRNN_DATA"):
        fetch("absent.gz", instead="data.npz")


def test_a_refused_connection_is_an_error_within_seconds(dead: str, table: Callable[..., None]) -> None:
    table(dead)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"no connection.*PIXELRNN_DATA to a folder that holds data.npz"):
        fetch("data.gz", instead="data.npz")
    assert time.monotonic() - start < 30


def test_the_next_address_is_tried_when_the_first_fails(dead: str, server: str, table: Callable[..., None]) -> None:
    table(dead, server)
    assert fetch("data.gz", instead="data.npz").read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_an_error(
    server: str, table: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(server)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cache folder cannot be written.*set PIXELRNN_CACHE"):
        fetch("data.gz", instead="data.npz")
