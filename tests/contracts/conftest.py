"""The model that contracts on sampling run on."""

from __future__ import annotations

import pytest
from cases import SMALL, WALKED, enlarge, make

from pixelrnn.model import PixelModel

pytest.register_assert_rewrite("loops", "worlds")  # what they assert shows both sides, as in a test


@pytest.fixture(params=WALKED, ids=lambda case: case[0])
def model(request: pytest.FixtureRequest) -> PixelModel:
    """Every network and every head, for images of 4 x 5."""
    return enlarge(make(request.param, SMALL), 2)
