"""One server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Page, serving, small_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return small_models(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def page(models: dict[str, Path]) -> Iterator[Page]:
    with serving(*models.values()) as running:
        yield running
