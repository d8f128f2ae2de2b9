"""The site builds without a warning; every link of the README and of the pages leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import PAGES, ROOT

LINK = re.compile(r"!?\[[^\]]*\]\((?!https?://|mailto:)([^)\s#]+)(?:#[^)]*)?\)")


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        str(ROOT / "docs"),
        str(tmp_path),
    ]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "python.html").read_text(encoding="utf-8")
    assert "pixelrnn.build" in page
    assert "a name of" in page, "the docstring's arguments"
    assert "$ pixelrnn" in (tmp_path / "commands.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="https?://(?!arxiv\.org|pytorch\.org)[^"]*\.(js|css|woff2?)"', page), (
        "loads from elsewhere"
    )


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_link_to_a_file_leads_to_one(page: str) -> None:
    folder = (ROOT / page).parent
    links = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if not (folder / link).exists()]
    assert not missing
