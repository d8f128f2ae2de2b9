"""The server: what it draws and says is what the library does; what it must refuse, it refuses."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from serving import Page, serving
from websockets.exceptions import InvalidStatus

import pixelrnn
from pixelrnn.codec import Writer
from pixelrnn.codec.files import Image as Packed
from pixelrnn.codec.files import safe_name, write_images
from pixelrnn.errors import ConfigError
from pixelrnn.report.sheets import interpolations
from pixelrnn.web.models import named
from pixelrnn.web.requests import BODY


def picture(values: np.ndarray) -> dict[str, Any]:
    """Bytes (H, W, C) as the API takes them."""
    return {"height": len(values), "width": values.shape[1], "pixels": base64.b64encode(values.tobytes()).decode()}


def noise(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def of_levels(values: np.ndarray, levels: int) -> torch.Tensor:
    found = values > 127 if levels == 2 else values.astype(int) * levels // 256
    return torch.from_numpy(found.astype(np.uint8).transpose(2, 0, 1)[None])


def test_the_models_are_those_that_were_named(page: Page, models: dict[str, Path]) -> None:
    cards = page.get("/api/models").json
    assert [card["name"] for card in cards] == list(models)
    digits = cards[0]
    assert digits["classes"] == ["zero", "one", "two"]
    assert (digits["summary"], digits["height"], digits["levels"]) == ("some digits", 8, 2)
    by_name = {card["name"]: card for card in cards}
    assert [name for name in by_name if by_name[name]["any_order"]] == ["any-order"]
    assert [name for name in by_name if by_name[name]["encodes"]] == ["coded"]
    assert [name for name in by_name if by_name[name]["compresses"]] == ["exact", "exact-gray"]


@pytest.mark.parametrize("label", [None, 2])
def test_images_are_those_of_the_seed(page: Page, models: dict[str, Path], label: int | None) -> None:
    more = {} if label is None else {"label": label, "guidance": 1.5, "temperature": 0.8}
    said, images = page.walk(do="sample", model="digits", n=5, seed=11, **more)
    expected = pixelrnn.load(models["digits"]).sample(5, seed=11, **more)
    assert (images == expected.numpy()).all()
    assert said["seconds"] >= 0
    command = f"pixelrnn sample {models['digits']} -n 5 --seed 11"
    options = " --label two --temperature 0.8 --guidance 1.5" if label else ""
    assert said["begin"]["command"] == f"{command}{options} -o samples.png"


@pytest.mark.parametrize("name", ["digits", "any-order", "colours"])
def test_completions_keep_what_is_known(page: Page, models: dict[str, Path], name: str) -> None:
    model = pixelrnn.load(models[name])
    values = noise(*model.size, model.channels)
    known = np.random.default_rng(1).random(model.size) < 0.5
    hidden = base64.b64encode(known.astype(np.uint8).tobytes()).decode()
    said, images = page.walk(do="complete", model=name, picture=picture(values), known=hidden, n=3, seed=4)
    assert "error" not in said
    given = of_levels(values, model.levels)
    expected = model.complete(given.expand(3, -1, -1, -1), torch.from_numpy(known), seed=4)
    assert (images == expected.numpy()).all()


def test_interpolations_are_those_of_the_library(page: Page, models: dict[str, Path]) -> None:
    model = pixelrnn.load(models["coded"])
    first, last = (noise(8, 8, 1, seed) for seed in (0, 1))
    said, images = page.walk(
        do="interpolate", model="coded", first=picture(first), last=picture(last), steps=4, rows=2, seed=9
    )
    assert said["begin"]["columns"] == 4
    ends = torch.cat([of_levels(each, 4) for each in (first, last)])
    expected = interpolations(model, ends, 4, 2, seed=9)
    assert (images.reshape(expected.shape) == expected.numpy()).all()


def test_samples_are_like_a_picture(page: Page, models: dict[str, Path]) -> None:
    model, like = pixelrnn.load(models["coded"]), noise(8, 8, 1)
    said, images = page.walk(do="sample", model="coded", n=3, seed=5, guidance=1.5, like=picture(like))
    expected = model.sample(3, vector=model.encode(of_levels(like, 4))[0].detach(), seed=5, guidance=1.5)
    assert (images == expected.numpy()).all()
    assert said["begin"]["command"] == ""
    assert "has no encoder" in page.walk(do="sample", model="digits", like=picture(noise(8, 8, 1)))[0]["error"]


def test_samples_lead_from_class_to_class(page: Page, models: dict[str, Path]) -> None:
    model = pixelrnn.load(models["digits"])
    said, images = page.walk(do="interpolate", model="digits", first=0, last=2, steps=3, rows=2, seed=5)
    assert "error" not in said
    found = torch.from_numpy(images.reshape(2, 3, 1, 8, 8))
    assert (found[:, 0] == model.sample(2, seed=5, label=0)).all()
    assert (found[:, 2] == model.sample(2, seed=5, label=2)).all()
    assert (found[:, 1] == model.sample(2, seed=5, label=torch.tensor([0.5, 0, 0.5]))).all()


@pytest.mark.parametrize("name", ["digits", "colours", "any-order"])
def test_a_look_shows_bits_probabilities_and_the_field(page: Page, models: dict[str, Path], name: str) -> None:
    from pixelrnn.measure.inspection import seen_by

    model = pixelrnn.load(models[name])
    values = noise(*model.size, model.channels)
    image = of_levels(values, model.levels)
    label = {"label": 1} if name == "digits" else {}
    found = page.post("/api/look", {"model": name, "picture": picture(values), **label}).json
    bits = -model.log_prob(image, reduce=False, **label).detach()[0] / np.log(2)
    shown = np.frombuffer(base64.b64decode(found["bits"]), "<f4").reshape(model.size)
    assert shown == pytest.approx(bits.mean(0).numpy(), abs=1e-4)
    assert found["total"] == pytest.approx(float(bits.sum()), rel=1e-5)
    assert found["per_dimension"] == pytest.approx(float(bits.mean()), rel=1e-5)
    pixel = page.post("/api/look-at", {"model": name, "picture": picture(values), "row": 3, "column": 4, **label}).json
    assert pixel["values"] == image[0, :, 3, 4].tolist()
    assert pixel["bits"] == pytest.approx(bits[:, 3, 4].tolist(), abs=1e-4)
    for value, own, pmf in zip(pixel["values"], pixel["bits"], pixel["pmf"], strict=True):
        assert sum(pmf) == pytest.approx(1, abs=1e-4)
        assert -np.log2(pmf[value]) == pytest.approx(own, abs=1e-3)
    assert pixel["seen"] == seen_by(model, 3, 4, model.size).flatten().nonzero().flatten().tolist()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_is_compressed_and_comes_back(page: Page, mode: str) -> None:
    pixels = noise(9, 14, 3)
    made = Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    made.save(file, "PNG")
    name = "exact" if mode == "RGB" else "exact-gray"
    named = "" if mode == "RGB" else r"&name=C%3A%5Cscans%5C..%2Fslice%0A%2012%3A30.tif"
    answer = page.post(f"/api/compress?model={name}{named}", file.getvalue(), {"Content-Type": "image/png"})
    assert answer.status == 200, answer.body
    found = answer.json
    blob = base64.b64decode(found["data"])
    assert found["sizes"]["pixelrnn"] == len(blob)
    assert {"PNG", "WebP"} <= set(found["sizes"])
    back = page.post("/api/decompress", blob, {"Content-Type": "application/octet-stream"}).json
    assert (back["name"], back["images"]) == ("slice 12-30.png" if named else "picture.png", 1)
    assert str(safe_name(back["name"])) == back["name"]
    restored = Image.open(io.BytesIO(base64.b64decode(back["png"])))
    assert restored.mode == mode
    assert (np.asarray(restored) == np.asarray(made)).all()
    other = "exact-gray" if mode == "RGB" else "exact"
    refused = page.post(f"/api/compress?model={other}", file.getvalue(), {"Content-Type": "image/png"})
    assert (refused.status, "Choose another model" in refused.json["detail"]) == (422, True)


def test_of_several_pictures_the_first_is_shown(page: Page, models: dict[str, Path]) -> None:
    pixels = [noise(height, 6, 3).transpose(2, 0, 1) for height in (5, 7, 9)]
    file, names = io.BytesIO(), ("a.png", "b.png", "c.png")
    writer = Writer(file, pixelrnn.load(models["exact"]), "exact")
    write_images(writer, [Packed(*pair) for pair in zip(names, pixels, strict=True)], lambda _: None)
    writer.close()
    back = page.post("/api/decompress", file.getvalue(), {"Content-Type": "application/octet-stream"}).json
    assert (back["name"], back["images"]) == ("a.png", 3)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(back["png"]))))
    assert (shown.transpose(2, 0, 1) == pixels[0]).all()


GOOD = {"model": "digits", "picture": picture(noise(8, 8, 1))}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/look", {**GOOD, "model": "../secret"}, 422, "There is no model '../secret' here: digits, colours"),
        ("/api/look", {**GOOD, "model": "mnist"}, 422, "There is no model 'mnist' here"),
        ("/api/look", {**GOOD, "label": 3}, 422, "0..2"),
        ("/api/look", {**GOOD, "picture": {**GOOD["picture"], "height": 9}}, 422, "has 72 bytes, not 64"),
        (
            "/api/look",
            {**GOOD, "picture": {**GOOD["picture"], "height": 5000}},
            422,
            "picture.height must be less than or equal to 4096",
        ),
        ("/api/look", {**GOOD, "picture": {**GOOD["picture"], "pixels": "?"}}, 422, "not base64"),
        ("/api/look", {**GOOD, "picture": picture(noise(300, 300, 1))}, 422, "may have 65,536 of them at most"),
        ("/api/look", {**GOOD, "more": 1}, 422, "more is not known here."),
        ("/api/look-at", {**GOOD, "row": 8, "column": 0}, 422, "There is no pixel (8, 0) in 8 x 8"),
        ("/api/compress?model=exact", b"no picture", 422, "The picture"),
        ("/api/compress?model=digits", b"no picture", 422, "digits is not an exact model"),
        ("/api/decompress", b"no archive", 422, "not a compressed file of pixelrnn"),
    ],
)
def test_a_wrong_request_is_told_so(page: Page, path: str, body: Any, status: int, message: str) -> None:
    answer = page.post(path, body)
    detail = answer.json["detail"]
    assert answer.status == status
    assert message in detail


@pytest.mark.parametrize("length_is_told", [True, False])
def test_a_body_above_the_limit_is_refused(page: Page, length_is_told: bool) -> None:
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=20)
    connection.putrequest("POST", "/api/compress?model=exact")
    if length_is_told:
        connection.putheader("Content-Length", str(BODY + 1))
        connection.endheaders()
    else:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for _ in range(BODY // 65536 + 1):
            connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    answer = connection.getresponse()
    assert answer.status == 413
    assert "5,242,880 bytes at most" in json.loads(answer.read())["detail"]
    connection.close()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"do": "sample", "model": "none"}, "There is no model 'none'"),
        ({"do": "sample", "model": "digits", "n": 65}, "n must be less than or equal to 64, not 65."),
        ({"do": "sample", "model": "digits", "temperature": -1}, "greater than or equal to 0"),
        ({"do": "sample", "model": "colours", "label": 1}, "takes no condition"),
        ({"do": "paint", "model": "digits"}, "do must be one of sample, complete, interpolate."),
        ({"do": "complete", **GOOD, "known": "AAAA", "n": 1}, "has 64 bytes, not 3"),
        ({"do": "complete", "model": "digits", "picture": picture(noise(600, 600, 1)), "known": ""}, "too many pixels"),
        (
            {"do": "interpolate", "model": "digits", "first": GOOD["picture"], "last": GOOD["picture"]},
            "has no encoder",
        ),
        ({"do": "interpolate", "model": "digits", "first": 0, "last": 3}, "has no class 3: it has 3"),
        ({"do": "interpolate", "model": "coded", "first": 0, "last": 1}, "has no class 0: it has 0"),
    ],
)
def test_a_wrong_walk_is_told_so(page: Page, request_: dict[str, Any], message: str) -> None:
    said, _ = page.walk(**request_)
    assert message in said["error"]


def test_nothing_else_of_the_machine_can_be_read(page: Page) -> None:
    for path in ("/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.js/..%2f..%2fapp.py", "/app.py", "/docs"):
        assert page.get(path).status == 404, path
    assert b"<!doctype html>" in page.get("/").body


def test_every_answer_has_safe_headers_and_other_pages_are_refused(page: Page) -> None:
    for answer in (page.get("/"), page.get("/api/models"), page.post("/api/look", {}), page.get("/none")):
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
    elsewhere = {"Origin": "https://example.org"}
    assert page.post("/api/look", GOOD, elsewhere).status == 403
    assert page.get("/api/models", {"Host": "example.org"}).status == 403, "a name that was made to point here"
    assert page.get("/api/models", {"Origin": page.url}).status == 200
    with pytest.raises(InvalidStatus, match="403"), page.socket(origin="https://example.org"):
        pass


def test_the_api_is_described(page: Page) -> None:
    described = page.get("/openapi.json").json
    assert {"/api/models", "/api/look", "/api/look-at", "/api/compress", "/api/decompress", "/healthz"} == set(
        described["paths"]
    )


def test_two_models_of_one_name_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    pixelrnn.load(models["digits"]).save(tmp_path / "digits")
    with pytest.raises(ConfigError, match="Two models are called digits"):
        named([str(models["digits"]), str(tmp_path / "digits")])


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that takes minutes for what a visitor may ask for at most."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("slow") / "slow"
    pixelrnn.build("pixelsnail", size=(60, 60), levels=4, layers=3, width=48, blocks=4, head="categorical").save(folder)
    return str(folder)


MUCH = {"do": "sample", "model": "slow", "n": 64}


def test_who_hangs_up_stops_the_work_within_a_second(slow: str) -> None:
    with serving(slow) as page:
        with page.socket() as socket:
            socket.send(json.dumps(MUCH))
            json.loads(socket.recv())
            socket.recv()  # it is being drawn
        began = time.monotonic()
        said, _ = page.walk(do="complete", model="slow", n=1, picture=picture(noise(2, 2, 1)), known="AAAAAA==")
        assert "seconds" in said
        assert time.monotonic() - began < 30, (
            "a second for the work to stop, the rest for a busy machine; all of it takes minutes"
        )


def test_a_queue_that_is_full_says_when_to_come_again(slow: str) -> None:
    with ExitStack() as open_, serving(slow) as page:
        for number in range(5):  # one is drawn, four wait
            socket = open_.enter_context(page.socket())
            socket.send(json.dumps(MUCH))
            if number == 0:
                json.loads(socket.recv())
        said: dict[str, Any] = {}
        until = time.monotonic() + 20
        while "error" not in said and time.monotonic() < until:  # the four may not have come to wait yet
            with page.socket() as socket:
                socket.send(json.dumps(MUCH))
                try:
                    said = json.loads(socket.recv(1))
                except TimeoutError:
                    continue
        assert "Try again" in said["error"]
        assert said["retry_after"] == 5
        answer = page.post("/api/look", {"model": "slow", "picture": picture(noise(2, 2, 1))})
        assert (answer.status, {k.lower(): v for k, v in answer.headers.items()}["retry-after"]) == (429, "5")


def test_sockets_that_are_dropped_at_random_leave_nothing_behind(page: Page) -> None:
    process = psutil.Process(page.process.pid)
    page.walk(do="sample", model="digits", n=64)
    chance = np.random.default_rng(0)

    def some(count: int) -> None:
        for _ in range(count):
            with page.socket() as socket:
                if chance.random() < 0.8:
                    socket.send(json.dumps({"do": "sample", "model": "digits", "n": int(chance.integers(1, 64))}))
                    if chance.random() < 0.5:
                        socket.recv()
                if chance.random() < 0.5:
                    socket.socket.shutdown(2)  # without a word

    some(60)
    time.sleep(1)
    memory, files = process.memory_info().rss, process.num_fds()
    threads = process.num_threads() + min(32, (os.cpu_count() or 1) + 4)  # the pool makes its threads when needed
    some(200)
    until = time.monotonic() + 30
    while time.monotonic() < until and (process.num_threads() > threads or process.num_fds() > files + 3):
        time.sleep(0.2)
    assert process.num_threads() <= threads
    assert process.num_fds() <= files + 3
    assert process.memory_info().rss < memory + 40e6
    assert page.get("/healthz").json == {"status": "ok"}


def test_a_stop_is_graceful_though_images_are_being_drawn(slow: str) -> None:
    with serving(slow) as page, page.socket() as socket:
        socket.send(json.dumps(MUCH))
        json.loads(socket.recv())
        socket.recv()
        began = time.monotonic()
        page.process.terminate()
        page.process.wait(20)
        assert time.monotonic() - began < 19
