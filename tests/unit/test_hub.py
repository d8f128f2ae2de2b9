"""Models on the Hub, against a local stand-in that speaks the part of its API that huggingface_hub uses here."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import pixelrnn
from pixelrnn.errors import ConfigError, DownloadError, ModelFolderError
from pixelrnn.model.model_folder import folder_of

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandIn(ThreadingHTTPServer):
    """Repositories in memory; `asked` lists the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


class Answers(BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._file(with_content=False)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "/resolve/" in path:
            self._file(with_content=True)
            return
        self.server.asked.append(f"GET {path}")
        if not self.server.files or not path.startswith("/api/models/someone/stripes"):
            self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        if "/tree/" in path:
            self._say(200, [{"type": "file", "path": name, "size": len(content), "oid": _hash(content)}
                            for name, content in self.server.files.items()])  # fmt: skip
            return
        siblings = [{"rfilename": name} for name in self.server.files]
        self._say(200, {"id": "someone/stripes", "sha": COMMIT, "siblings": siblings})

    def do_POST(self) -> None:
        path, body = self.path.partition("?")[0], self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(f"POST {path}")
        at = f"http://127.0.0.1:{self.server.server_port}/someone/stripes"
        if path == "/api/repos/create":
            self._say(200, {"url": at})
        elif "/preupload/" in path:
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            self._say(200, {"files": files})
        elif "/commit/" in path:
            for line in map(json.loads, body.decode().splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._say(200, {"commitOid": COMMIT, "commitUrl": f"{at}/commit/{COMMIT}"})
        else:
            self._say(200, {})

    def _file(self, with_content: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        content = self.server.files.get(path.rpartition("/")[2])
        if content is None:
            self._say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        self.send_response(200)
        for name, value in {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{_hash(content)}"',
            "Content-Length": len(content),
        }.items():
            self.send_header(name, str(value))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def _say(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    torch.set_default_dtype(torch.float32)
    server = StandIn()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    yield server
    server.shutdown()
    server.server_close()


def small() -> pixelrnn.PixelModel:
    torch.manual_seed(0)
    return pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=4)


def test_a_model_comes_back_from_the_hub_as_it_was_and_from_the_cache_without_it(hub: StandIn) -> None:
    model = small()
    assert model.push_to_hub("someone/stripes").endswith("/someone/stripes")
    assert {"config.json", "model.safetensors", "README.md"} == set(hub.files)
    again = pixelrnn.load("hf://someone/stripes")
    images = model.sample(3, seed=0)
    assert torch.equal(again.sample(3, seed=0), images)
    assert folder_of(Path("hf://someone/stripes")).name == COMMIT, "a path of the command line has lost a slash"
    hub.files["pickle.bin"] = b"not downloaded"
    assert not (folder_of("hf://someone/stripes") / "pickle.bin").exists()
    hub.shutdown()
    hub.server_close()
    assert torch.equal(pixelrnn.load("hf://someone/stripes").sample(3, seed=0), images)


def test_the_names_of_other_libraries_do_the_same(hub: StandIn, tmp_path: Path) -> None:
    """As `huggingface_hub.PyTorchModelHubMixin`."""
    model = small()
    images = model.sample(3, seed=0)
    assert model.save_pretrained(tmp_path / "model") is None
    assert not hub.files
    address = model.save_pretrained(tmp_path / "again", repo_id="someone/stripes", push_to_hub=True, private=True)
    assert str(address).endswith("/someone/stripes")
    for name, revision in ((tmp_path / "model", None), ("someone/stripes", None), ("someone/stripes", "main")):
        again = pixelrnn.PixelModel.from_pretrained(name, revision=revision)
        assert isinstance(again, pixelrnn.PixelModel)
        assert torch.equal(again.sample(3, seed=0), images)


def test_a_card_has_the_measured_figures_as_metadata(hub: StandIn, tmp_path: Path) -> None:
    model = small()
    images = torch.randint(0, 2, (20, 1, 4, 4), dtype=torch.uint8)
    pixelrnn.train(model, images, out=tmp_path / "run", epochs=1, batch_size=10)
    model.push_to_hub("someone/stripes")
    card = huggingface_hub.ModelCard(hub.files["README.md"].decode())
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found == {
        "nats_per_image": model.about["progress"]["valid_nats"],
        "bits_per_dimension": model.about["progress"]["bits_per_dim"],
    }
    assert card.data.library_name == "pixelrnn"
    assert 'pixelrnn.load("hf://someone/stripes")' in card.text
    assert "samples.png)" not in card.text, "there is no such picture in the repository"


def test_damage_in_the_hub_is_found_out(hub: StandIn) -> None:
    small().push_to_hub("someone/stripes")
    weights = bytearray(hub.files["model.safetensors"])
    weights[-1] ^= 1
    hub.files["model.safetensors"] = bytes(weights)
    with pytest.raises(ModelFolderError, match="SHA-256"):
        pixelrnn.load("hf://someone/stripes")


@pytest.mark.parametrize("address", ["hf://stripes", "hf://a/b/c", "hf://someone/", "hf://someone/stripes@"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(ConfigError, match="hf://user/name"):
        pixelrnn.load(address)


def test_a_model_that_is_not_there_and_a_hub_that_cannot_be_reached_are_one_sentence(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match=r"someone/else could not be downloaded"):
        pixelrnn.load("hf://someone/else")
    with pytest.raises(ConfigError, match="user/name"):
        small().push_to_hub("stripes")
    with pytest.raises(DownloadError, match="could not be downloaded"):
        pixelrnn.load("hf://someone/else@older")
    assert any("/revision/older" in each for each in hub.asked), "of that revision"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(DownloadError, match=r"could not be written to someone/stripes"):
        small().push_to_hub("someone/stripes", token="t")
