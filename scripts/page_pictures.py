"""The pictures of docs/page.md and the moving one of README: python scripts/page_pictures.py docs/images

Needs Chromium and the packages of `pip install 'pixelrnn[web]' playwright`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import pixelrnn
from pixelrnn.data import load_data
from pixelrnn.sampling.settings import SamplingSettings

FRAMES = 70


def moving(path: Path) -> None:
    """Twenty digits appear pixel by pixel; what is not drawn yet is gray."""
    model = pixelrnn.load("mnist")
    images = torch.zeros(20, 1, 28, 28, dtype=torch.uint8)
    labels = torch.arange(20) % 10
    shown = np.full((20, 28 * 28), 110, np.uint8)
    frames, since = [], 0
    for event in model.generate(images, None, SamplingSettings(seed=3, guidance=1.5, label=labels)):
        image, place = np.nonzero(event.final)
        shown[event.images[image], event.where.numpy()[place]] = event.values[image, 0, place] * 255
        since += len(image)
        if since >= shown.size / FRAMES:
            frames.append(_grid(shown))
            since = 0
    frames.append(_grid(shown))
    durations = [60] * (len(frames) - 1) + [2500]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


def _grid(shown: np.ndarray) -> Image.Image:
    cells = np.pad(shown.reshape(2, 10, 28, 28), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=60)
    sheet = cells.swapaxes(1, 2).reshape(2 * 30, 10 * 30)
    return Image.fromarray(sheet).resize((900, 180), Image.Resampling.NEAREST).convert("P")


def pictures(tab: Page, folder: Path, digit: Path) -> None:
    """New images; a picture looked into; completions."""
    tab.wait_for_selector("body[data-ready=true]")
    tab.fill("input[name=n]", "25")
    tab.fill("input[name=guidance]", "1.5")
    tab.fill("input[name=seed]", "3")
    tab.select_option("select[name=label]", "3")
    tab.evaluate("document.getElementById('speed').value = 4")
    tab.click("text=Draw >> visible=true")
    while int(tab.get_attribute("#sheet", "data-shown") or 0) < 11_000:
        tab.wait_for_timeout(100)
    tab.click("text=Pause")
    tab.screenshot(path=folder / "page-new.png")
    tab.select_option("#model", "mnist-any-order")
    tab.click("#tab-picture")
    tab.set_input_files("#upload", digit)
    tab.click("#hide-top")
    tab.click("#complete")
    tab.wait_for_selector("#completions[data-state='drawn']", timeout=60_000)
    tab.screenshot(path=folder / "page-complete.png")
    tab.click("#show-all")
    tab.select_option("#model", "mnist")
    tab.set_input_files("#upload", [])
    tab.set_input_files("#upload", digit)
    tab.check("#bits")
    tab.wait_for_selector("text=/The image takes/")
    box = tab.locator("#picture").bounding_box()
    assert box is not None
    tab.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.45 * box["height"])
    tab.wait_for_selector("#pixel h2", timeout=60_000)
    tab.screenshot(path=folder / "page-look.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    moving(folder / "digits.gif")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as running:
        digit = Path(temporary) / "digit.png"
        Image.fromarray(load_data("mnist", "test").images[4, 0]).save(digit)
        serve = [sys.executable, "-m", "pixelrnn", "serve", "--port", "0"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                chromium = os.environ.get("PIXELRNN_CHROMIUM") or shutil.which("chromium")
                browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                tab = browser.new_page(viewport={"width": 1180, "height": 800})
                tab.goto(server.stdout.readline().strip())
                pictures(tab, folder, digit)
                browser.close()
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
