"""Contract: one generator. Every pixel is settled exactly once, and a chooser with a state is asked for it once."""

from __future__ import annotations

import pytest
import torch
from cases import SMALL, WALKED, each_network, in_turn, make, some_images
from torch import Tensor
from toys import Stream

from pixelrnn.model import PixelModel
from pixelrnn.sampling.settings import SamplingSettings
from pixelrnn.sampling.walk import walk


def masks(n: int) -> dict[str, Tensor]:
    """Nothing known; some pixels of each image, and a row of all of them: (n, 1, 4, 5)."""
    some = torch.rand(n, 1, *SMALL, generator=torch.Generator().manual_seed(3)) < 0.4
    some[:, :, 2] = True
    return {"nothing known": torch.zeros(n, 1, *SMALL, dtype=torch.bool), "some pixels known": some}


def decoded(model: PixelModel, images: Tensor, known: Tensor, **how: object) -> tuple[Tensor, Stream]:
    """What a stream of the unknown pixels of `images` is decoded to, and the stream."""
    channels, groups = model.channels, model.head.groups
    sequence = model.network.order(*SMALL).ranks.flatten().argsort().tolist()
    places = [(where, channel) for where in sequence for channel in range(channels)]
    expected = [[place for place in places if not mask.flatten()[place[0]]] for mask in known]
    flat = images.flatten(2)
    stream = Stream(torch.zeros(len(images), 0), groups)
    stream.left = [[int(flat[b, c, where]) for where, c in mine] for b, mine in enumerate(expected)]
    found = (images * known).contiguous()
    for _ in walk(model.network, model.head, found, stream, dtype=model.dtype, known=known, **how):
        pass
    stream.assert_popped_once(expected)
    return found, stream


@in_turn(
    "model, span, name",
    WALKED,
    [(1, "some pixels known"), (2, "nothing known"), (SMALL[1], "some pixels known"), (None, "nothing known")],
)
def test_a_decoder_pops_every_symbol_exactly_once_in_order(model: PixelModel, span: int | None, name: str) -> None:
    images = model.sample(4, seed=0)  # some guesses are right, some are wrong
    images[3] = some_images(model, 1)[0]  # nearly all are wrong
    found, _ = decoded(model, images, masks(4)[name], pace=span)
    assert torch.equal(found, images)


@each_network
@pytest.mark.parametrize("name", masks(1))
def test_the_naive_loop_asks_a_decoder_in_the_same_order(model: PixelModel, name: str) -> None:
    images, known = some_images(model, 2), masks(2)[name]
    found, stream = decoded(model, images, known, method="naive")
    assert torch.equal(found, images)
    _, walked = decoded(model, images, known)
    assert stream.popped == walked.popped


@each_network
def test_a_decoder_does_not_depend_on_the_batch(model: PixelModel) -> None:
    images, known = model.sample(3, seed=1), masks(3)["some pixels known"]
    together, _ = decoded(model, images, known)
    alone = [decoded(model, images[k : k + 1], known[k : k + 1])[0] for k in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_a_chooser_that_goes_on_behind_a_contradiction_would_be_noticed() -> None:
    """The toy itself: a decoder that ignores what is open reads its stream more than once."""
    model = make(("", "pixelcnn", 1, "categorical", 4), SMALL)

    class Careless(Stream):
        def choose(self, span, pmf):  # noqa: ANN001, ANN202
            return super().choose(span._replace(guess=torch.full_like(span.guess, 255), open=span.open | True), pmf)

    images = some_images(model, 1)
    stream = Careless(images.flatten(1).repeat(1, 5), 1)
    found = torch.zeros_like(images)
    for _ in walk(model.network, model.head, found, stream, dtype=model.dtype, pace=5):
        pass
    with pytest.raises(AssertionError):
        stream.assert_popped_once([[(where, 0) for where in range(20)]])


@in_turn(
    "model, name, method",
    WALKED,
    [("nothing known", "cached"), ("some pixels known", "cached"), ("some pixels known", "naive")],
)
def test_every_pixel_of_every_image_is_final_exactly_once(model: PixelModel, name: str, method: str) -> None:
    known = masks(3)[name]
    images = some_images(model, 3)
    expected = model.complete(images, known, seed=5, batch_size=2)
    work, times = (images * known).contiguous(), torch.zeros(3, SMALL[0] * SMALL[1], dtype=torch.long)
    seen = torch.full_like(images, 255).flatten(2)
    settings = SamplingSettings(seed=5, batch_size=2, method=method, order="auto")
    for event in model.generate(work, known, settings):
        for line, image in enumerate(event.images):
            final = torch.from_numpy(event.final[line])
            where = event.where[final]
            times[image, where] += 1
            seen[image, :, where] = torch.from_numpy(event.values[line])[:, final]
    assert (times == 1).all()
    assert torch.equal(seen.view_as(expected), expected)
    assert torch.equal(work, expected)


def test_a_multi_scale_network_streams_its_small_image_first() -> None:
    model = make(("", "multiscale", 1, "categorical", 4), SMALL)
    order = model.network.order(*SMALL).ranks.flatten()
    images = torch.zeros(2, 1, *SMALL, dtype=torch.uint8)
    ranks = []
    for event in model.generate(images, None, SamplingSettings(seed=0)):
        ranks += order[event.where[torch.from_numpy(event.final[0])]].tolist()
    assert ranks == list(range(20))


@each_network
def test_progress_is_counted_in_pixels_up_to_all_of_them(model: PixelModel) -> None:
    calls: list[tuple[int, int]] = []
    model.sample(3, seed=0, batch_size=2, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (60, 60)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert len(calls) > 4
