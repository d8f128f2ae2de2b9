"""A server of small models, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from websockets.sync.client import ClientConnection, connect

import pixelrnn


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Page(NamedTuple):
    """A running server."""

    url: str
    process: subprocess.Popen[str]

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self._ask(urllib.request.Request(self.url + path, headers=headers or {}))

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} | (headers or {})
        return self._ask(urllib.request.Request(self.url + path, data, kind))

    def _ask(self, request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def socket(self, **options: Any) -> ClientConnection:
        return connect(self.url.replace("http", "ws") + "/walk", max_size=None, **options)

    def walk(self, **request: Any) -> tuple[dict[str, Any], np.ndarray]:
        """What was said, and the images (N, C, H, W); pixels that did not come are 255."""
        said: dict[str, Any] = {}
        parts = []
        with self.socket() as socket:
            socket.send(json.dumps(request))
            for message in socket:
                if isinstance(message, bytes):
                    parts.append(message)
                else:
                    said |= json.loads(message)
        if "begin" not in said:
            return said, np.zeros(0)
        head = said["begin"]
        shape = [head[each] for each in ("images", "channels", "height", "width")]
        images, came = np.full(shape, 255, np.uint8), np.zeros([shape[0], *shape[2:]], int)
        for part in parts:
            (count,) = np.frombuffer(part, "<u4", 1)
            image, row, column = np.frombuffer(part, "<u2", 3 * count, 4).reshape(3, count)
            images[image, :, row, column] = np.frombuffer(part, np.uint8, offset=4 + 6 * count).reshape(count, -1)
            np.add.at(came, (image, row, column), 1)
        assert came.max(initial=0) <= 1, "a pixel was sent twice"
        return said, images


@contextmanager
def serving(*models: str | Path) -> Iterator[Page]:
    command = [sys.executable, "-m", "pixelrnn", "serve", *map(str, models), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Page(process.stdout.readline().strip(), process)
        finally:
            process.terminate()
            process.wait(20)


def small_models(folder: Path) -> dict[str, Path]:
    """Models of random weights: digits by class, colours, any order, one with an encoder, and exact ones."""
    torch.manual_seed(0)
    built = {
        "digits": pixelrnn.build("gated-pixelcnn", size=(8, 8), levels=2, layers=1, width=8, classes=3),
        "colours": pixelrnn.build("pixelcnn", size=(6, 7), channels=3, levels=8, layers=1, width=6),
        "any-order": pixelrnn.build("pixel-transformer", size=(8, 8), levels=2, layers=1, width=8),
        "coded": pixelrnn.build("gated-pixelcnn", size=(8, 8), levels=4, layers=1, width=8, code_size=3),
    }
    built["digits"].about = {"class_names": ["zero", "one", "two"], "summary": "some digits"}
    shape: dict[str, Any] = {"levels": 256, "layers": 1, "width": 6, "kernel": 3, "components": 2}
    for name, channels in (("exact", 3), ("exact-gray", 1)):
        model = pixelrnn.build("local-pixelcnn", size=(8, 8), channels=channels, **shape)
        built[name] = model.quantised(torch.randint(0, 256, (2, channels, 8, 8), dtype=torch.uint8))
    for name, model in built.items():
        model.save(folder / name)
    return {name: folder / name for name in built}
