"""The page in a real browser: drawing, completing, looking, compressing, interpolating; by mouse, keyboard and phone.

Skipped where no Chromium is found: apt-get install chromium, or set PIXELRNN_CHROMIUM to its path.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import Page

import pixelrnn

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("PIXELRNN_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if CHROMIUM is None:
    pytest.skip("no Chromium: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: playwright.Browser, page: Page) -> Iterator[playwright.Page]:
    """The page, opened. No error may appear on its console, and no other host may be asked."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: wrong.append(request.url) if not _ours(request.url, page.url) else None)
    tab.goto(page.url)
    tab.wait_for_selector("body[data-ready=true]")
    yield tab
    context.close()
    assert wrong == []


def _ours(url: str, page: str) -> bool:
    return url.startswith((page, page.replace("http", "ws"), "blob:", "data:"))


def values_of(tab: playwright.Page, canvas: str) -> np.ndarray:
    """The pixels of a canvas, (H, W, 4)."""
    found = tab.evaluate(
        """(id) => { const canvas = document.getElementById(id);
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, canvas.height, Array.from(data)]; }""",
        canvas,
    )
    return np.array(found[2], np.uint8).reshape(found[1], found[0], 4)


def picture_at(folder: Path, size: tuple[int, int], mode: str = "L") -> Path:
    path = folder / "picture.png"
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    return path


def test_images_are_drawn_as_on_the_command_line(tab: playwright.Page, models: dict[str, Path]) -> None:
    tab.fill("input[name=n]", "5")
    tab.fill("input[name=seed]", "42")
    tab.select_option("select[name=label]", label="two")
    tab.click("text=Draw >> visible=true")
    tab.wait_for_selector("#sheet[data-shown='320']")
    assert tab.inner_text("#command") == f"pixelrnn sample {models['digits']} -n 5 --seed 42 --label two -o samples.png"
    sheet = values_of(tab, "sheet")
    expected = pixelrnn.load(models["digits"]).sample(5, seed=42, label=2).numpy()
    for index, image in enumerate(expected):
        top, left = 9 * (index // 3), 9 * (index % 3)
        assert (sheet[top : top + 8, left : left + 8, 0] == 255 * image[0]).all()
    assert "5 images by digits" in (tab.get_attribute("#sheet", "aria-label") or "")


def test_playback_stops_and_goes_step_by_step(tab: playwright.Page) -> None:
    tab.fill("input[name=n]", "4")
    tab.evaluate("document.getElementById('speed').value = 0")
    tab.click("text=Draw >> visible=true")
    tab.click("text=Pause")
    tab.wait_for_selector("#sheet[data-state='drawn']")
    before = int(tab.get_attribute("#sheet", "data-shown") or 0)
    for shown in range(before + 1, before + 4):
        tab.click("text=Step")
        assert tab.inner_text("#progress").startswith(f"{shown} of 256")
    assert (values_of(tab, "sheet")[..., 3] > 0).sum() == before + 3
    tab.evaluate("document.getElementById('speed').value = 6")
    tab.click("text=Go on")
    tab.wait_for_selector("#sheet[data-shown='256']")


def test_an_image_is_looked_into_by_the_keyboard_alone(tab: playwright.Page, models: dict[str, Path]) -> None:
    tab.focus("input[name=n]")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#sheet[data-shown='1024']")
    tab.focus("#sheet")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowRight"):
        tab.keyboard.press(key)
    assert tab.get_attribute("#sheet", "aria-label") == "Image 6 of 16"
    tab.keyboard.press("Enter")
    assert tab.is_visible("#panel-picture")
    expected = 255 * pixelrnn.load(models["digits"]).sample(6, seed=0).numpy()[5, 0]
    assert (values_of(tab, "picture")[..., 0] == expected).all()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        tab.keyboard.press(key)
    tab.wait_for_selector("text=Row 2, column 1")
    assert re.search(r"level [01]: probability 0\.\d+, \d+\.\d+ bits", tab.inner_text("#pixel"))
    assert re.search(r"depends on \d+ earlier pixels", tab.inner_text("#pixel"))
    tab.check("#bits")
    tab.wait_for_selector("text=/The image takes .* bits/")
    assert re.fullmatch(r"\d+\.\d\d bits", tab.inner_text("#scale-high"))
    assert "given no class" in tab.inner_text("#of-image")
    tab.select_option("#picture-label", label="two")
    tab.wait_for_selector("text=/given the class two/")
    assert len(np.unique(values_of(tab, "scale-colours")[0], axis=0)) > 100
    tab.focus("#tab-picture")
    tab.keyboard.press("ArrowRight")
    assert tab.is_visible("#panel-compress")


def test_a_hidden_part_is_painted_and_completed(tab: playwright.Page, tmp_path: Path) -> None:
    tab.click("#tab-picture")
    tab.set_input_files("#upload", picture_at(tmp_path, (8, 8)))
    assert tab.is_disabled("#complete")
    tab.check("input[value=hide]")
    box = tab.locator("#picture").bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + 20, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] - 20, box["y"] + 20, steps=8)
    tab.mouse.up()
    assert "digits draws in raster order" in tab.inner_text("#unseen")
    assert "any-order sees all known pixels" in tab.inner_text("#unseen")
    tab.click("#complete")
    tab.wait_for_selector("#completions[data-state='drawn']")
    shown, drawn = values_of(tab, "picture"), values_of(tab, "completions")
    known = shown[..., 0] == shown[..., 2]  # hidden pixels are bluish
    assert 0 < known.sum() < 64
    for top, left in ((0, 0), (0, 9), (9, 0), (9, 9)):
        assert (drawn[top : top + 8, left : left + 8, 0][known] == shown[..., 0][known]).all()
    tab.focus("#completions")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert not tab.is_visible("#completions")
    assert (values_of(tab, "picture")[..., 0] == drawn[:8, 9:17, 0]).all()
    tab.click("#hide-bottom")
    tab.click("#complete")
    tab.wait_for_selector("#completions[data-state='drawn']")
    drawn = values_of(tab, "completions")
    tab.click("#completions", position={"x": 5, "y": 5})
    assert (values_of(tab, "picture")[..., 0] == drawn[:8, :8, 0]).all()
    tab.select_option("#model", "any-order")
    tab.set_input_files("#upload", [])
    tab.set_input_files("#upload", picture_at(tmp_path, (8, 8)))
    tab.click("#hide-top")
    assert tab.inner_text("#unseen") == ""


def test_a_file_is_compressed_downloaded_and_restored(tab: playwright.Page, tmp_path: Path) -> None:
    path = picture_at(tmp_path, (20, 24), "RGB")
    tab.click("#tab-compress")
    tab.set_input_files("#file", path)
    tab.wait_for_selector("text=/By the model exact.*every pixel is the same/")
    assert {"pixelrnn", "PNG", "WebP"} <= set(tab.locator("#sizes td:first-child").all_inner_texts())
    with tab.expect_download() as download:
        tab.click("#download")
    archive = tmp_path / "picture.prnn"
    download.value.save_as(archive)
    tab.set_input_files("#file", archive)
    tab.wait_for_selector("text=Restored exactly")
    with tab.expect_download() as download:
        tab.click("#download")
    download.value.save_as(tmp_path / "back.png")
    assert (np.asarray(Image.open(tmp_path / "back.png")) == np.asarray(Image.open(path))).all()


def test_samples_lead_from_one_class_or_picture_to_another(tab: playwright.Page, tmp_path: Path) -> None:
    tab.click("#tab-between")
    tab.select_option("#first-label", label="one")
    tab.click("#interpolate")
    tab.wait_for_selector("#between[data-state='drawn']")
    tab.select_option("#model", "colours")
    assert tab.is_disabled("#interpolate")
    assert "Choose digits, coded above" in tab.inner_text("#between-hint")
    tab.select_option("#model", "coded")
    path = picture_at(tmp_path, (9, 12))
    for name in ("first", "last"):
        tab.set_input_files(f"#{name}", path)
    tab.evaluate("document.getElementById('between').dataset.state = ''")
    tab.click("#interpolate")
    tab.wait_for_selector("#between[data-state='drawn']")
    assert values_of(tab, "between").shape[:2] == (17, 8 * 9 - 1)
    tab.click("#tab-sample")
    tab.fill("input[name=n]", "2")
    assert not tab.is_visible("select[name=label]")
    sheets = []
    for files in ([], [path]):
        tab.set_input_files("#like", files)
        tab.evaluate("document.getElementById('sheet').dataset.shown = ''")
        tab.click("text=Draw >> visible=true")
        tab.wait_for_selector("#sheet[data-shown='128']")
        sheets.append(tab.evaluate("document.getElementById('sheet').toDataURL()"))
        assert tab.is_visible("#copy") == (not files)
    assert sheets[0] != sheets[1]


def test_wrong_files_are_told_in_a_sentence(tab: playwright.Page, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")
    tab.click("#tab-picture")
    tab.set_input_files("#upload", tmp_path / "words.png")
    tab.wait_for_selector("#message:visible")
    assert tab.inner_text("#message") == "words.png is no picture that this browser can read."
    tab.click("#tab-sample")
    tab.fill("input[name=seed]", "7")
    tab.click("text=Draw >> visible=true")
    assert not tab.is_visible("#message")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_phone_has_contrast_and_labels(
    browser: playwright.Browser, page: Page, tmp_path: Path, theme: str
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=theme, has_touch=True)
    tab = context.new_page()
    tab.goto(page.url)
    tab.wait_for_selector("body[data-ready=true]")
    assert tab.evaluate("document.documentElement.dataset.theme") == theme
    for name in ("sample", "picture", "compress", "between"):
        tab.click(f"#tab-{name}")
        if name == "compress":
            tab.set_input_files("#file", picture_at(tmp_path, (20, 24), "RGB"))
            tab.wait_for_selector("#sizes:visible")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360, f"{name} is wider than the screen"
    assert tab.evaluate(
        "(() => { const row = document.querySelector('[role=tablist]'); return row.scrollWidth <= row.clientWidth; })()"
    ), "a tab is cut off"
    colour = {
        name: tab.evaluate("(name) => getComputedStyle(document.documentElement).getPropertyValue(name)", f"--{name}")
        for name in ("ground", "panel", "text", "quiet", "accent", "on-accent", "mark", "wrong")
    }
    pairs = [("text", "ground"), ("text", "panel"), ("quiet", "ground"), ("on-accent", "accent"), ("wrong", "ground")]
    for front, back in pairs:
        assert _contrast(colour[front], colour[back]) >= 4.5, (front, back)  # WCAG 2.2, 1.4.3
    assert _contrast(colour["mark"], colour["ground"]) >= 3  # 1.4.11
    unnamed = tab.evaluate(
        """() => [...document.querySelectorAll("input, select, button, canvas")].filter((each) =>
        !(each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim())).map((each) => each.id)"""
    )
    assert unnamed == []
    context.close()


def _contrast(one: str, two: str) -> float:
    """The contrast ratio of two colours, #rrggbb (WCAG 2.2)."""
    light = []
    for colour in (one, two):
        parts = [int(colour.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)
