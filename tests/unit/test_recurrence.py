"""What the recurrences promise besides their equations: half precision around them, memory, one layout throughout."""

from __future__ import annotations

import pytest
import torch
from models import small

import pixelrnn
from pixelrnn.canvas import Incremental, Region, Whole, batch_last
from pixelrnn.layers.convolution import Pointwise
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence

NETWORKS = ["row-lstm", "diagonal-bilstm", "mdlstm", "multiscale"]


def gradients(model: pixelrnn.PixelModel, images: torch.Tensor, *, half: bool) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        nats = -model.log_prob(images).mean()
    model.zero_grad()
    nats.backward()
    return nats.detach(), torch.cat([each.grad.flatten() for each in model.parameters()])


@pytest.mark.parametrize("network", NETWORKS)
def test_under_autocast_the_likelihood_and_its_gradient_are_nearly_those_of_float32(network: str) -> None:
    torch.set_default_dtype(torch.float32)
    model = pixelrnn.build(network, size=(9, 7), levels=2, layers=2, width=8)
    images = torch.randint(0, 2, (4, 1, 9, 7))
    exact, found = gradients(model, images, half=False), gradients(model, images, half=True)
    assert found[0].dtype == found[1].dtype == torch.float32
    assert abs(found[0] - exact[0]) < 0.01 * exact[0]
    assert torch.cosine_similarity(found[1], exact[1], dim=0) > 0.99


@pytest.mark.parametrize("network", ["row-lstm", "diagonal-bilstm", "mdlstm"])
def test_the_batch_stays_innermost_through_all_blocks(network: str) -> None:
    model = pixelrnn.build(network, size=(5, 4), levels=2, layers=3, width=4)
    seen = []
    for block in model.network.blocks:
        block.register_forward_hook(lambda _, __, out: seen.append(batch_last(out)))
    model.log_prob(torch.randint(0, 2, (3, 1, 5, 4)))
    assert seen == [True] * 3


def test_without_a_graph_no_gates_are_kept() -> None:
    recurrence = Recurrence(2, Pointwise(3, 8), [LEFT, ABOVE], [LEFT])
    x = torch.randn(2, 3, 4, 5)
    with torch.no_grad():
        quiet = recurrence(x, Whole(x))
    assert quiet.grad_fn is None
    kept = recurrence(x, Whole(x))
    assert kept.grad_fn is not None
    assert torch.equal(quiet, kept)


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    recurrence = Recurrence(2, Pointwise(3, 8), [LEFT, ABOVE], [LEFT])
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    with pytest.raises(RuntimeError, match="do not support second derivatives"):
        torch.autograd.grad(recurrence(x, Whole(x)).sum(), x, create_graph=True)


def test_a_walk_of_a_recurrence_keeps_two_rows_whatever_the_height() -> None:
    recurrence = Recurrence(2, Pointwise(3, 8), [LEFT, ABOVE], [LEFT])

    def kept(height: int) -> int:
        canvas = Incremental((1, 1, height, 6), torch.float64, torch.device("cpu"))
        with torch.no_grad():
            for row in range(height):
                canvas.begin(Region(row, 0, 6))
                recurrence(torch.randn(1, 3, 1, 6), canvas)
        return canvas.memory

    assert kept(20) == kept(3) == 2 * 2 * 2 * (6 + 2) + 6  # h and c, and a row of the image


@pytest.mark.parametrize("network", pixelrnn.network_names())
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (11, 6)], ids=str)
def test_images_of_any_other_size_are_scored_sampled_and_completed(network: str, size: tuple[int, int]) -> None:
    model = small(network, levels=2)
    images = torch.randint(0, 2, (1, 1, *size))
    assert model.log_prob(images).isfinite().all()
    assert model.sample(1, size=size, seed=0).shape == images.shape
    whole = model.complete(images, torch.rand(size) < 0.5, seed=0)
    assert whole.shape == images.shape
