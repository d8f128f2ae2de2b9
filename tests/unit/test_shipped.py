"""The models that come with the package are what their cards say, and are found by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pixelrnn
from pixelrnn.data.builtin import is_here
from pixelrnn.errors import ModelFolderError
from pixelrnn.measure.evaluation import evaluate, load_like
from pixelrnn.model.model_folder import folder_of, shipped

LARGEST = 3_000_000  # bytes


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


EXACT = [name for name in shipped() if pixelrnn.load(name).is_exact]
DRAWING = [name for name in shipped() if name not in EXACT]


@pytest.mark.parametrize("name", DRAWING)
def test_a_shipped_model_is_what_its_card_says(name: str) -> None:
    model = pixelrnn.load(name)
    assert all(each.dtype == torch.float32 for each in model.parameters())
    said = model.about["shipped"]
    assert f"{said['nats']:.2f} +- {said['standard_error']:.2f}" in (folder_of(name) / "README.md").read_text()
    assert (folder_of(name) / "model.safetensors").stat().st_size <= LARGEST
    assert abs(said["nats"] - said["nats_in_32_bits"]) <= 0.05
    name_of_data = model.about["preset"]["data"]["name"]
    if not is_here(name_of_data):  # nothing is downloaded
        pytest.skip(f"{name_of_data} is not in $PIXELRNN_DATA")
    data = load_like(model, None, said["split"])
    found = evaluate(model, data, count=said["images"])
    assert (found.images, found.protocol) == (said["images"], said["protocol"])
    assert found.nats == pytest.approx(said["nats"], abs=0.01)


@pytest.mark.parametrize("name", DRAWING)
def test_a_shipped_model_draws_images_that_are_not_all_alike(name: str) -> None:
    images = pixelrnn.load(name).sample(4, seed=0)
    assert len(images.unique(dim=0)) == 4


@pytest.mark.parametrize("name", EXACT)
def test_a_shipped_exact_model_compresses_what_it_is_for(name: str) -> None:
    """A smooth picture with noise takes far fewer bits than its values have."""
    model, chance = pixelrnn.load(name), torch.Generator().manual_seed(0)
    across, down = torch.meshgrid(torch.arange(64), torch.arange(48), indexing="ij")
    smooth = torch.stack([across + down, 2 * across, 3 * down + 20])[None, : model.channels] % 200
    picture = (smooth + torch.randint(0, 2, smooth.shape, generator=chance)).to(torch.uint8)
    blob = model.compress(picture)
    assert torch.equal(model.decompress(blob), picture)
    assert 8 * len(blob) / picture.numel() < 2.5
    card = (folder_of(name) / "README.md").read_text()
    assert all(f"| {each} | {bits:.4f} |" in card for each, bits in model.about["bits_per_dim"].items())
    assert (folder_of(name) / "model.safetensors").stat().st_size <= 2_000_000


def test_a_name_wins_over_a_path_and_a_path_is_written_with_its_folder(tmp_path: Path) -> None:
    for name, folder in shipped().items():
        assert folder_of(name) == folder
        assert folder_of(f"./{name}") == folder_of(Path(name)) == Path(name)
    with pytest.raises(ModelFolderError, match="pixelrnn list weights"):
        pixelrnn.load(tmp_path / "nothing")
