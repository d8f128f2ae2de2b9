"""Multi-Scale PixelRNN: a small image that knows nothing else, then the others given all of it.

The loops are written from section 3.6 of the PixelRNN paper (arXiv 1601.06759), with those of `test_fidelity_recurrent`
for its two LSTMs; they share nothing with the package but the weights. A copied pixel is one of the small image's, the
rest is all others.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import enlarge, make
from test_fidelity import Layer, pointwise, relu
from test_fidelity_recurrent import States, diagonal_states, pixelrnn_loop, row_states, states_of, with_random_starts
from test_probability import all_images
from test_sampling import chi_square, count, limit
from torch import Tensor, nn

import pixelrnn
from pixelrnn.canvas import Region, Walk, Whole, scale
from pixelrnn.errors import ConfigError
from pixelrnn.heads import HEADS, head_options
from pixelrnn.model import PixelModel
from pixelrnn.networks import MultiScale, options_of
from pixelrnn.networks.multiscale import UpSampling
from pixelrnn.walk import Draw, uniforms, walk

Array = np.ndarray
BODIES = ["row-lstm", "diagonal-bilstm"]
VARIANTS = [{"factor": 2}, {"factor": 3}, {"factor": 2, "images": 3}]
SMALL = (5, 4)

both_bodies = pytest.mark.parametrize("body", BODIES)
all_variants = pytest.mark.parametrize("variant", VARIANTS, ids=str)


# ---- fidelity


def convolved(layer: nn.Module, maps: Array, mistake: str) -> Array:
    """3 x 3, zeros outside the image, nothing masked."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    if mistake == "3 x 3 kernels turned round":
        weight = weight[:, :, ::-1, ::-1]
    _, height, width = maps.shape
    found = np.zeros((len(weight), height, width))
    for row, column in itertools.product(range(height), range(width)):
        found[:, row, column] = bias
        for y, x in itertools.product((-1, 0, 1), (-1, 0, 1)):
            there = row + y, column + x
            if mistake == "edges repeated":
                there = min(max(there[0], 0), height - 1), min(max(there[1], 0), width - 1)
            if 0 <= there[0] < height and 0 <= there[1] < width:
                found[:, row, column] += weight[:, :, 1 + y, 1 + x] @ maps[:, there[0], there[1]]
    return found


def deconvolved(layer: nn.Module, maps: Array, factor: int, mistake: str) -> Array:
    """Every pixel becomes factor x factor pixels, each by a matrix of its own."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # (in, out, factor, factor)
    if mistake == "deconvolution turned round":
        weight = weight[:, :, ::-1, ::-1]
    _, height, width = maps.shape
    found = np.zeros((weight.shape[1], factor * height, factor * width))
    for row, column in itertools.product(range(height), range(width)):
        for y, x in itertools.product(range(factor), range(factor)):
            found[:, factor * row + y, factor * column + x] = bias + weight[:, :, y, x].T @ maps[:, row, column]
    return found


def up_sampled(up: UpSampling, small: Array, factor: int, size: tuple[int, int], mistake: str) -> Array:
    """From the small image to a map as large as the large one."""
    first, second, grow = up.layers
    x = convolved(first, small, mistake)
    x = x if mistake == "a ReLU less" else relu(x)
    if mistake != "one convolution less":
        x = relu(convolved(second, x, mistake))
    x = deconvolved(grow, x, factor, mistake)
    if mistake == "a ReLU more":
        x = relu(x)
    if mistake == "map a pixel down":
        x = np.roll(x, 1, 1)
    if mistake == "map a pixel to the right":
        x = np.roll(x, 1, 2)
    return x[:, -size[0] :, -size[1] :] if mistake == "cropped at the other end" else x[:, : size[0], : size[1]]


class Biased:
    """Input to state plus a 1 x 1 map of the condition, whose maps come last: they are skewed together."""

    def __init__(self, into: Layer, condition: nn.Module, colours: str, mistake: str) -> None:
        self.into, self.bias = into, condition.bias.detach().numpy()
        self.weight = condition.weight.detach().numpy()[:, :, 0, 0]
        gates, maps = self.weight.shape
        if mistake == "bias masked by colour":
            self.weight = self.weight * Layer(nn.Conv2d(maps, gates, 1), (1, 1), "B", colours, 4).centre("B")
        if mistake == "bias of one gate only":
            self.weight = self.weight * (np.arange(gates) < gates // 4)[:, None]
        if mistake == "1 x 1 without its own bias":
            self.bias = np.zeros_like(self.bias)

    def __call__(self, maps: Array) -> Array:
        stream, condition = np.split(maps, [len(maps) - self.weight.shape[1]])
        return self.into(stream) + np.einsum("oi,irc->orc", self.weight, condition) + self.bias[:, None, None]


def biased_states(
    recurrence: nn.Module, kernel: int, taps: int, condition: nn.Module | None, colours: str, mistake: str
) -> States:
    """The weights of one LSTM whose input-to-state map is biased."""
    into, own = recurrence.inputs
    rest = {name: getattr(recurrence, name) for name in ("weight", "start_h", "start_c")}
    states = states_of(SimpleNamespace(inputs=[into], **rest), kernel, taps, colours, "")
    return states._replace(into=Biased(states.into, condition or own, colours, mistake))


def biased_row(block: nn.Module, x: Array, up: Array, shared: nn.Module | None, colours: str, mistake: str) -> Array:
    condition = shared.states.inputs[1] if shared else None
    states = biased_states(block.states, 3, 3, condition, colours, mistake)
    return row_states(states, np.concatenate([x, up]), "")


def biased_diagonal(
    block: nn.Module, x: Array, up: Array, shared: nn.Module | None, colours: str, mistake: str
) -> Array:
    """In both directions; the map from right to left is shifted down by one row, its condition with it."""
    rightward, leftward = (
        biased_states(getattr(block, way), 1, 2, getattr(shared, way).inputs[1] if shared else None, colours, mistake)
        for way in ("rightward", "leftward")
    )
    right = np.zeros_like(up) if mistake == "leftward biased only" else up
    left = np.zeros_like(up) if mistake == "rightward biased only" else up
    if mistake == "bias not mirrored":
        left = left[:, :, ::-1]
    if mistake == "bias of the row below":
        left = np.concatenate([left[:, 1:], left[:, :1]], 1)
    h = diagonal_states(rightward, np.concatenate([x, right]), "")
    late = diagonal_states(leftward, np.concatenate([x, left])[:, :, ::-1], "")[:, :, ::-1]
    shifted = np.zeros_like(late)
    shifted[:, 1:] = late[:, :-1]
    return h + shifted


BIASED = {"row-lstm": biased_row, "diagonal-bilstm": biased_diagonal}


def conditional_loop(body: str, net: nn.Module, colours: str, image: Array, up: Array, mistake: str) -> Array:
    """Table 1 and figure 5 (right), the input-to-state map of every layer biased: (params, H, W)."""
    x = Layer(net.first, (7, 7), "A", colours)(image)
    skipped = np.zeros_like(x)
    for index, (block, skip) in enumerate(zip(net.blocks, pointwise(net.skips, colours), strict=True)):
        here = up
        if mistake == "bias missing" or (mistake == "bias in the first layer only" and index):
            here = np.zeros_like(up)
        if mistake == "bias in the last layer only" and index + 1 < len(net.blocks):
            here = np.zeros_like(up)
        shared = net.blocks[0] if mistake == "one 1 x 1 for all layers" else None
        (expand,) = pointwise([block.expand], colours)
        x = x + expand(BIASED[body](block, x, here, shared, colours, mistake))
        skipped = skipped + skip(x)
    x = x + skipped
    for layer in pointwise(net.readout.layers, colours):
        x = layer(relu(x))
    return x


def mean_of_cells(image: Array, factor: int) -> Array:
    rows, columns = (range(0, length, factor) for length in image.shape[1:])
    cells = [[image[:, r : r + factor, c : c + factor].mean((1, 2)) for c in columns] for r in rows]
    return np.array(cells).transpose(2, 0, 1)


def multiscale_loop(net: MultiScale, body: str, factor: int, image: Array, mistake: str = "") -> Array:
    """Section 3.6, the small image sub-sampled and copied: the parameters of every pixel, (params, H, W)."""
    colours = "RGB"[: len(image)]
    small = image[:, ::factor, ::factor]
    if mistake == "small image of the odd pixels":
        small = np.roll(image, (-1, -1), (1, 2))[:, ::factor, ::factor]
    if mistake == "small image of means":
        small = mean_of_cells(image, factor)
    if isinstance(net.small, MultiScale):
        params = multiscale_loop(net.small, body, factor, small)
    else:
        plain = SimpleNamespace(network=net.small, channels=len(image))
        params = pixelrnn_loop(body, plain, small, 3, 7, True, "")
    up = net.small.up if mistake == "one up-sampling for all scales" else net.up
    condition = up_sampled(up, small, factor, image.shape[1:], mistake)
    seen = image.copy()
    if mistake == "copied pixels blank for the large network":
        seen[:, ::factor, ::factor] = 0
    large = conditional_loop(body, net.large, colours, seen, condition, mistake)
    if mistake != "large network's parameters at copied pixels":
        large[:, ::factor, ::factor] = params
    return large


LOOPS = {"multiscale": multiscale_loop}


def both_ways(
    body: str, mistake: str = "", size: tuple[int, int] = (5, 4), batch: int = 1, **options: int
) -> tuple[Array, Array]:
    """The parameters of some random images by the package, and by the loops above."""
    settings = {"layers": 2, "width": 5, "factor": 2, **options}
    model = pixelrnn.build("multiscale", size=size, levels=4, body=body, **settings).eval()
    with_random_starts(model)
    images = torch.randint(0, 4, (batch, model.channels, *size))
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 2  # so that no gate is nearly linear
        found = model.network(Whole(scale(images, 4, torch.float64))).numpy()
    seen = 2 * images.numpy() / 3 - 1
    return found, np.stack([multiscale_loop(model.network, body, settings["factor"], each, mistake) for each in seen])


@pytest.mark.parametrize("size", [(5, 4), (6, 5), (1, 5), (5, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@all_variants
@both_bodies
def test_a_multi_scale_network_is_the_loop_of_its_paper(
    body: str, variant: dict, channels: int, size: tuple[int, int]
) -> None:
    found, expected = both_ways(body, size=size, channels=channels, **variant)
    assert found.shape == expected.shape == (1, 4 * channels, *size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [{"layers": 1}, {"layers": 3}, {"out_width": 4, "batch": 3}, {"factor": 4}, {"factor": 7}, {"images": 4}],
    ids=str,
)
@both_bodies
def test_a_multi_scale_network_of_any_depth_is_that_loop(body: str, options: dict) -> None:
    found, expected = both_ways(body, channels=1, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


MISTAKES = {
    "both": [
        "bias missing", "bias in the first layer only", "bias in the last layer only", "one 1 x 1 for all layers",
        "bias masked by colour", "bias of one gate only", "1 x 1 without its own bias",
        "small image of the odd pixels", "small image of means", "map a pixel down", "map a pixel to the right",
        "cropped at the other end", "3 x 3 kernels turned round", "edges repeated", "a ReLU less", "a ReLU more",
        "one convolution less", "deconvolution turned round", "one up-sampling for all scales",
        "copied pixels blank for the large network", "large network's parameters at copied pixels",
    ],
    "row-lstm": [],
    "diagonal-bilstm": [
        "rightward biased only", "leftward biased only", "bias not mirrored", "bias of the row below",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "mistake"), [(body, each) for body in BODIES for each in MISTAKES["both"] + MISTAKES[body]]
)
def test_one_mistake_in_a_multi_scale_network_would_be_seen(body: str, mistake: str) -> None:
    found, expected = both_ways(body, mistake, channels=3, images=3)
    assert np.abs(found - expected).max() > 1e-3


# ---- likelihood


def model_of(
    body: str, size: tuple[int, int] = SMALL, channels: int = 1, head: str = "categorical", levels: int = 4,
    **options: object,
) -> PixelModel:  # fmt: skip
    """Larger weights than at the beginning: pixels that depend on each other, and on the small image above all."""
    case = ("", "multiscale", channels, head, levels)
    model = enlarge(make(case, size, **{"layers": 2, "body": body, **options}), 2)
    for up in (each for each in model.modules() if isinstance(each, UpSampling)):
        enlarge(up, 2)
    return model


def copied(model: PixelModel, size: tuple[int, int]) -> Tensor:
    """The pixels of the small image: (H, W) bool."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[:: model.network.factor, :: model.network.factor] = True
    return mask


def small_of(model: PixelModel) -> PixelModel:
    """A model of the small image alone, of the same weights."""
    options = dict(model.config["options"])
    body, factor, images = (options.pop(key) for key in ("body", "factor", "images"))
    if images > 2:
        options.update(body=body, factor=factor, images=images - 1)
    size = tuple(-(-length // factor) for length in model.size)
    name = body if images == 2 else "multiscale"
    small = pixelrnn.build(
        name, size=size, channels=model.channels, levels=model.levels, head=model.config["head"], **options
    )
    small.network.load_state_dict(model.network.small.state_dict())
    return small.double().eval()


def some(model: PixelModel, n: int) -> Tensor:
    return torch.randint(0, model.levels, (n, model.channels, *model.size), dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 4), (6, 7), (1, 5), (1, 1)], ids=str)
@all_variants
@both_bodies
@torch.no_grad()
def test_the_nats_of_copied_pixels_are_those_of_the_small_network_alone(
    body: str, variant: dict, size: tuple[int, int], channels: int
) -> None:
    model = model_of(body, size, channels, **variant)
    images, step = some(model, 3), model.network.factor
    nats = model.log_prob(images, reduce=False)
    small = small_of(model).log_prob(images[:, :, ::step, ::step], reduce=False)
    torch.testing.assert_close(nats[:, :, ::step, ::step], small, rtol=0, atol=1e-12)
    rest = nats[:, :, ~copied(model, size)].sum((1, 2))
    torch.testing.assert_close(model.log_prob(images), small.sum((1, 2, 3)) + rest, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "variant"), [((2, 3), {}), ((3, 3), {}), ((3, 3), {"factor": 3}), ((3, 3), {"images": 3})], ids=str
)
@both_bodies
@torch.no_grad()
def test_the_images_of_a_world_and_the_rest_of_each_small_image_have_total_probability_one(
    body: str, size: tuple[int, int], variant: dict
) -> None:
    model = model_of(body, size, head="bernoulli", levels=2, **variant)
    images, mask = all_images(1, *size, 2), copied(model, size)
    assert len(images) == 2 ** (size[0] * size[1])
    joint = model.log_prob(images)
    torch.testing.assert_close(joint.exp().sum().item(), 1.0, rtol=0, atol=1e-12)
    given = model.log_prob(images, reduce=False)[:, :, ~mask].sum((1, 2))  # log p(rest | small), as the model says
    contents, which = images[:, 0, mask].unique(dim=0, return_inverse=True)
    assert len(contents) == 2 ** int(mask.sum())
    step = model.network.factor
    for index in range(len(contents)):
        mine = which == index
        torch.testing.assert_close(given[mine].exp().sum().item(), 1.0, rtol=0, atol=1e-12)
        marginal = joint[mine].logsumexp(0)
        torch.testing.assert_close(given[mine], joint[mine] - marginal, rtol=0, atol=1e-12)
        (alone,) = small_of(model).log_prob(images[mine][:1, :, ::step, ::step])
        torch.testing.assert_close(marginal, alone, rtol=0, atol=1e-12)
    assert joint.max() - joint.min() > 1, "not the uniform distribution"


@pytest.mark.parametrize("size", [(7, 6), (3, 8)], ids=str)
@all_variants
@both_bodies
@torch.no_grad()
def test_a_changed_pixel_changes_the_conditionals_of_those_that_declare_to_see_it_and_no_others(
    body: str, variant: dict, size: tuple[int, int]
) -> None:
    model = model_of(body, size, **variant)
    pixels = list(itertools.product(range(size[0]), range(size[1])))
    changed = torch.zeros(len(pixels), *size, dtype=torch.bool)  # [who is changed, who changes]
    for base in torch.randint(0, 4, (6, 1, 1, *size)):  # several: a ReLU may be dead in one of them
        others = base.repeat(len(pixels), 1, 1, 1)
        for index, (row, column) in enumerate(pixels):
            others[index, :, row, column] = 3 - others[index, :, row, column]
        both = [model.network(Whole(scale(each, 4, torch.float64))) for each in (others, base.expand_as(others))]
        changed |= (both[0] != both[1]).any(1)
    declared = torch.stack([model.network.field(*pixel, *size) for pixel in pixels])  # [who sees, who is seen]
    found = changed.flatten(1).T.reshape_as(declared)
    assert torch.equal(found, declared)
    rest = ~copied(model, size).flatten()
    assert not declared.flatten(1)[~rest][:, rest].any()
    sees_ahead = declared.flatten(1)[rest].triu(1)
    assert sees_ahead.any(), "some of the rest sees what is further down in the image"


@pytest.mark.parametrize(("channels", "head", "levels"), [(1, "bernoulli", 2), (3, "categorical", 4)])
@all_variants
@both_bodies
@torch.no_grad()
def test_no_pixel_of_the_rest_moves_the_nats_of_a_copied_pixel_by_one_bit(
    body: str, variant: dict, channels: int, head: str, levels: int
) -> None:
    model = model_of(body, (6, 5), channels, head, levels, **variant)
    mask = copied(model, (6, 5))
    images = some(model, 4)
    others = torch.where(mask, images, levels - 1 - images)
    nats, moved = (model.log_prob(each, reduce=False) for each in (images, others))
    assert torch.equal(nats[:, :, mask], moved[:, :, mask])
    assert not torch.equal(nats[:, :, ~mask], moved[:, :, ~mask])


# ---- sampling


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("channels", [1, 3])
@all_variants
@both_bodies
def test_the_small_image_of_a_sample_is_a_sample_of_the_small_network_alone(
    body: str, variant: dict, channels: int, temperature: float
) -> None:
    model = model_of(body, channels=channels, **variant)
    small, step = small_of(model), model.network.factor
    numbers = uniforms(4, range(3), (channels, *SMALL))[:, :, ::step, ::step]
    blank = torch.zeros(numbers.shape, dtype=torch.uint8)
    alone = walk(small.network, small.head, blank, Draw(numbers, temperature), dtype=torch.float64)
    images = model.sample(3, seed=4, temperature=temperature)
    assert torch.equal(images[:, :, ::step, ::step], alone)
    assert alone.unique(dim=0).shape[0] > 1


@pytest.mark.parametrize(("variant", "channels"), [(VARIANTS[0], 3), (VARIANTS[1], 1), (VARIANTS[2], 1)], ids=str)
@both_bodies
def test_a_sample_is_the_same_by_either_method_in_any_company_and_of_one_seed(
    body: str, variant: dict, channels: int
) -> None:
    model = model_of(body, channels=channels, **variant)
    images = model.sample(3, seed=1)
    assert torch.equal(model.sample(3, seed=1, method="naive"), images)
    for n, batch_size in [(3, 2), (2, 1), (4, 3)]:
        assert torch.equal(model.sample(n, seed=1, batch_size=batch_size)[:3], images[:n])
    assert not torch.equal(model.sample(3, seed=2), images)


N = 6000
TINY = [  # channels, size, head, levels, options
    (1, (2, 3), "bernoulli", 2, {}),
    (1, (1, 4), "categorical", 3, {}),
    (1, (4, 1), "categorical", 3, {}),
    (1, (2, 3), "bernoulli", 2, {"factor": 3}),
    (1, (1, 5), "bernoulli", 2, {"images": 3}),
    (3, (1, 2), "bernoulli", 2, {}),
]


def tiny(body: str, world: tuple) -> tuple[PixelModel, Tensor, Tensor]:
    """A model, all of its images and their exact probabilities."""
    channels, size, head, levels, options = world
    model = model_of(body, size, channels, head, levels, **options)
    every = all_images(channels, *size, levels)
    with torch.no_grad():
        return model, every, model.log_prob(every).exp()


def as_often(found: Tensor, expected: Tensor) -> bool:
    """By chi-square, rare images counted as one."""
    rare = expected < 5
    if rare.sum() > 1:
        found, expected = (torch.cat([each[~rare], each[rare].sum()[None]]) for each in (found, expected))
    return chi_square(found, expected) < limit(len(expected))


@pytest.mark.parametrize("world", TINY, ids=str)
@both_bodies
def test_images_come_up_as_often_as_the_model_says(body: str, world: tuple) -> None:
    model, every, probabilities = tiny(body, world)
    found = count(model.sample(N, seed=0, batch_size=N), every)
    assert found.sum() == N
    assert as_often(found, N * probabilities)
    assert not as_often(found, torch.full_like(probabilities, N / len(every))), "not the uniform distribution"


# ---- completion


@pytest.mark.parametrize("more", [False, True], ids=["small image", "small image and the next pixel"])
@pytest.mark.parametrize("world", [world for world in TINY if world[0] == 1], ids=str)
@both_bodies
def test_a_completion_of_the_whole_small_image_has_the_conditional_probabilities(
    body: str, world: tuple, more: bool
) -> None:
    """Some copied pixels come later in the image than pixels that are drawn: they are seen all the same."""
    model, every, probabilities = tiny(body, world)
    known = copied(model, world[1])
    if more:
        known[model.network.order(*world[1]) == int(known.sum())] = True
    contents = torch.zeros(2, int(known.sum()), dtype=torch.long)  # of every other image of one batch
    contents[1] = world[3] - 1
    images = torch.zeros(N, *every.shape[1:], dtype=torch.uint8)
    images[:, 0, known] = contents.repeat(N // 2, 1).to(torch.uint8)
    whole = model.complete(images, known, seed=3, batch_size=N)
    assert torch.equal(whole[:, 0, known], images[:, 0, known])
    expected = []
    for half, content in enumerate(contents):
        fits = (every[:, 0, known] == content).all(1)
        expected.append(probabilities[fits] / probabilities[fits].sum())
        found = count(whole[half::2], every[fits])
        assert found.sum() == N // 2
        assert as_often(found, N // 2 * expected[half])
    assert not as_often(found, N // 2 * expected[0]), "what is known makes a difference"


def random_masks(model: PixelModel, n: int) -> dict[str, Tensor]:
    """Known pixels of every kind: (H, W), or another mask for each image (n, 1, H, W)."""
    height, width = model.size
    small = copied(model, model.size)
    order = model.network.order(height, width)
    upper = torch.zeros(height, width, dtype=torch.bool)
    upper[: height // 2] = True
    return {
        "nothing": torch.zeros_like(small), "everything": torch.ones_like(small),
        "small image": small, "rest": ~small, "upper rows": upper, "lower rows": ~upper,
        "first in order": order < order.numel() // 2, "last in order": order >= order.numel() // 2,
        "few": torch.rand(n, 1, height, width) < 0.3, "many": torch.rand(n, 1, height, width) < 0.8,
        "small image and others": small | (torch.rand(n, 1, height, width) < 0.4),
        "some rows, others": upper | (torch.rand(n, 1, height, width) < 0.4),
    }  # fmt: skip


@pytest.mark.parametrize(("variant", "channels"), [*((each, 1) for each in VARIANTS), (VARIANTS[-1], 3)], ids=str)
@both_bodies
def test_a_completion_is_the_same_by_either_method_in_any_company_and_keeps_what_is_known(
    body: str, variant: dict, channels: int
) -> None:
    model = model_of(body, channels=channels, **variant)
    images = some(model, 3)
    before = images.clone()
    for name, known in random_masks(model, 3).items():
        whole = model.complete(images, known, seed=1)
        assert torch.equal(torch.where(known, whole, images), images), name
        others = torch.where(known, images, some(model, 3))
        assert torch.equal(model.complete(others, known, seed=1, batch_size=2), whole), "the unknown is not looked at"
        if name in ("few", "small image and others"):
            assert torch.equal(model.complete(images, known, seed=1, method="naive"), whole), name
            assert not torch.equal(model.complete(images, known, seed=2), whole), name
    assert torch.equal(images, before), "what was given is not written to"


@all_variants
@both_bodies
def test_a_known_pixel_that_comes_later_in_the_networks_order_is_kept_and_not_seen(body: str, variant: dict) -> None:
    model = model_of(body, **variant)
    sample, order = model.sample(30, seed=1), model.network.order(*SMALL)
    seen_ahead = 0
    for row, column in itertools.product(*map(range, SMALL)):
        known = torch.zeros(SMALL, dtype=torch.bool)
        known[row, column] = True
        images = 3 - sample  # nowhere what was drawn
        whole = model.complete(images, known, seed=1)
        assert torch.equal(whole[:, :, row, column], images[:, :, row, column])
        earlier = order < order[row, column]
        assert torch.equal(whole[:, :, earlier], sample[:, :, earlier]), (row, column)
        before = torch.arange(order.numel()).reshape(SMALL) < row * SMALL[1] + column
        seen_ahead += int((whole != sample)[:, :, before].sum())
    assert seen_ahead, "a copied pixel is seen by some of the rest before it in raster order"


def test_a_known_pixel_of_the_rest_does_not_move_the_small_image_and_a_known_copied_pixel_moves_the_rest_above() -> (
    None
):
    model = model_of("diagonal-bilstm", (4, 4))
    sample, small = model.sample(40, seed=0), copied(model, (4, 4))
    rest = model.complete(3 - sample, ~small, seed=0)
    assert torch.equal(rest[:, :, small], sample[:, :, small])
    assert torch.equal(rest[:, :, ~small], (3 - sample)[:, :, ~small])
    last = torch.zeros(4, 4, dtype=torch.bool)
    last[2, 2] = True
    moved = model.complete(3 - sample, last, seed=0)
    assert torch.equal(moved[:, :, :2:2, ::2], sample[:, :, :2:2, ::2])
    assert not torch.equal(moved[:, :, 1], sample[:, :, 1])


@pytest.mark.parametrize(
    ("size", "method"), [(SMALL, "cached"), ((1, 5), "cached"), ((5, 1), "naive"), ((1, 1), "naive")], ids=str
)
@all_variants
@both_bodies
def test_on_row_is_told_every_row_once_when_it_is_final(
    body: str, variant: dict, size: tuple[int, int], method: str
) -> None:
    model = model_of(body, size, **variant)
    images = some(model, 3)
    masks = random_masks(model, 3)
    for name in ["nothing", "everything", "small image", "rest", "upper rows", "lower rows", "few"]:
        calls: list[tuple[int, int]] = []
        seen = torch.full_like(images, 255)

        def on_row(first: int, row: int, pixels: Tensor, calls: list = calls, seen: Tensor = seen) -> None:
            calls.append((first, row))
            seen[first : first + len(pixels), :, row] = pixels

        whole = model.complete(images, masks[name], seed=0, batch_size=2, method=method, on_row=on_row)
        assert calls == [(first, row) for first in (0, 2) for row in range(size[0])], name
        assert torch.equal(seen, whole), name


# ---- misuse


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("body", "pixelcnn"), ("body", "multiscale"), ("body", ""), ("body", 1), ("factor", 1), ("factor", 0),
        ("factor", -2), ("factor", 2.0), ("factor", True), ("factor", 65), ("images", 1), ("images", 0),
        ("images", 9), ("images", "2"), ("kernel", 3), ("given", 4),
    ],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=option):
        pixelrnn.build("multiscale", size=(8, 8), levels=2, layers=1, width=4, **{option: value})


def test_an_unknown_body_is_answered_with_the_known_ones() -> None:
    for body, answer in [("row_lstm", "mean 'row-lstm'"), ("transformer", "diagonal-bilstm, row-lstm")]:
        with pytest.raises(ConfigError, match=answer):
            pixelrnn.build("multiscale", size=(8, 8), levels=2, layers=1, width=4, body=body)


@pytest.mark.parametrize("head", HEADS)
def test_no_option_of_a_head_has_the_name_of_one_of_the_network(head: str) -> None:
    """The head would take it, and the network could not be told."""
    assert not set(options_of("multiscale")) & set(head_options(HEADS[head]))


@pytest.mark.parametrize(
    ("size", "options"),
    [((5, 4), {"images": 8}), ((3, 3), {"images": 8, "factor": 3}), ((2, 2), {"factor": 64}), ((1, 1), {"images": 5})],
    ids=str,
)
@both_bodies
def test_scales_beyond_an_image_of_one_pixel_are_no_exception(body: str, size: tuple[int, int], options: dict) -> None:
    model = model_of(body, size, layers=1, **options)
    assert len(model.network.stages()) == options.get("images", 2)
    assert model.network.order(*size).flatten().sort().values.tolist() == list(range(size[0] * size[1]))
    images = model.sample(3, seed=0)
    assert torch.equal(model.sample(3, seed=0, method="naive"), images)
    assert model.log_prob(images).isfinite().all()
    if size == (2, 2):
        return
    known = torch.rand(3, 1, *size) < 0.5
    whole = model.complete(images, known, seed=1)
    assert torch.equal(model.complete(images, known, seed=1, method="naive"), whole)


@both_bodies
@torch.no_grad()
def test_as_many_scales_as_one_likes_leave_the_total_probability_at_one(body: str) -> None:
    model = model_of(body, (3, 3), head="bernoulli", levels=2, layers=1, images=5)
    assert [stage.step for stage in model.network.stages()] == [16, 8, 4, 2, 1]
    total = model.log_prob(all_images(1, 3, 3, 2)).exp().sum().item()
    torch.testing.assert_close(total, 1.0, rtol=0, atol=1e-12)


@all_variants
@both_bodies
@torch.no_grad()
def test_the_network_refuses_to_be_walked_at_once_and_its_large_part_to_be_run_without_a_condition(
    body: str, variant: dict
) -> None:
    network = model_of(body, **variant).network
    canvas = Walk((1, 1, *SMALL), torch.float64, torch.device("cpu"))
    canvas.begin(Region(0, 0, 1))
    with pytest.raises(AssertionError, match="stage by stage"):
        network(canvas)
    with pytest.raises(AssertionError, match="condition"):
        network.large(Whole(torch.zeros(1, 1, *SMALL)))
