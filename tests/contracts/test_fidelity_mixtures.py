"""Contract 0 for MDLSTM, Spatial LSTM, MCGSM and the multi-directional encoder: each is the one of its paper.

The loops below go pixel by pixel and are written from the papers' equations: the cell of Graves and Schmidhuber, 2009,
with a forget gate for each direction and no peepholes; section 3.2 of arXiv 0705.2011 for the four corners; equations
4 to 8 of arXiv 1506.03478 for the Spatial LSTM and its mixture, whose density is multiplied out as it is printed, with
K_c as a matrix. They share nothing with the package but the weights. Pixels outside the image are zero.

Where the papers write b.x or a.x, x ends here with a constant one: features and means have an offset.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_fidelity import Layer, pointwise, relu, sigmoid
from test_fidelity_recurrent import with_random_starts
from torch import Tensor, nn

import pixelrnn
from pixelrnn.canvas import Whole, scale
from pixelrnn.errors import ConfigError
from pixelrnn.heads import MCGSM
from pixelrnn.inspection import seen_by
from pixelrnn.layers.convolution import CausalConv2d, Pointwise
from pixelrnn.layers.mixture import ScaleMixture
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS, MultiDirectionalLSTM

Array = np.ndarray
Place = tuple[int, int, int]  # channel, rows down, columns right


def array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def offset(module: CausalConv2d) -> Array:
    """The bias of a layer, zero where it has none."""
    return np.zeros(len(module.weight)) if module.bias is None else array(module.bias)


# ---- the cells


def graves(gates: Array, left: Array, above: Array, mistake: str) -> tuple[Array, Array]:
    """s = i g + sum over d of f_d s_d, h = o tanh(s): what the gates were before they opened -> the new h and s."""
    o, f_left, f_above, i, g = np.split(gates, 5)
    if mistake == "forget gates swapped":
        f_left, f_above = f_above, f_left
    if mistake == "one forget gate for both":
        f_above = f_left
    if mistake == "gates in another order":
        i, o = o, i
    o, f_left, f_above, i = (sigmoid(each) for each in (o, f_left, f_above, i))
    if mistake == "forget gates that add up to one":
        f_left, f_above = f_left / (f_left + f_above), f_above / (f_left + f_above)
    s = i * (sigmoid(g) if mistake == "sigmoid for g" else np.tanh(g)) + f_left * left
    if mistake != "no memory of the pixel above":
        s = s + f_above * above
    return (np.tanh(o * s) if mistake == "tanh after the product" else o * np.tanh(s)), s


def spatial(gates: Array, left: Array, above: Array, mistake: str) -> tuple[Array, Array]:
    """c = g i + c_left f^c + c_above f^r, h = tanh(c o): equations 6 and 7."""
    o, f_left, f_above, i, g = np.split(gates, 5)
    if mistake == "forget gates swapped":
        f_left, f_above = f_above, f_left
    if mistake == "one forget gate for both":
        f_above = f_left
    if mistake == "gates in another order":
        i, o = o, i
    content = sigmoid(g) if mistake == "sigmoid for g" else np.tanh(g)
    c = content * sigmoid(i) + left * sigmoid(f_left) + above * sigmoid(f_above)
    if mistake == "tanh before the product":
        return sigmoid(o) * np.tanh(c), c
    if mistake == "no tanh":
        return sigmoid(o) * c, c
    return np.tanh(c * sigmoid(o)), c


def states(
    recurrence: Recurrence, into: Array, cell: Callable, mistake: str, *, down: int = 1, right: int = 1
) -> Array:
    """Input to state (5h, H, W) -> the states (h, H, W).

    The rows are visited from top to bottom with `down` = 1 and from bottom to top with -1, the columns likewise.
    """
    height, width = into.shape[1:]
    start_h, start_c = array(recurrence.start_h), array(recurrence.start_c)
    if mistake == "initial states ignored":
        start_h, start_c = np.zeros_like(start_h), np.zeros_like(start_c)
    if mistake == "initial states that are not zero":
        start_h, start_c = np.full_like(start_h, 0.1), np.full_like(start_c, 0.1)
    from_left, from_above = np.split(array(recurrence.weight), 2, axis=1)
    if mistake == "the states of left and above swapped":
        from_left, from_above = from_above, from_left
    if mistake == "state to state masked by colour":
        maps = len(start_h)
        allowed = Layer(Pointwise(maps, 5 * maps), (1, 1), "B", "RGB", 5).centre("B")
        from_left, from_above = from_left * allowed, from_above * allowed
    h: dict[tuple[int, int], Array] = {}
    c: dict[tuple[int, int], Array] = {}
    for row, column in itertools.product(range(height)[::down], range(width)[::right]):
        left, above = (row, column - right), (row - down, column)
        gates = into[:, row, column] + from_left @ h.get(left, start_h) + from_above @ h.get(above, start_h)
        h[row, column], c[row, column] = cell(gates, c.get(left, start_c), c.get(above, start_c), mistake)
    return np.stack([np.stack([h[row, column] for column in range(width)], 1) for row in range(height)], 1)


def input_to_state(recurrence: Recurrence, x: Array, colours: str, mistake: str = "") -> Array:
    """A 1 x 1 layer: each of the five gates is split into colours."""
    (conv,) = recurrence.inputs
    kind = "A" if mistake == "mask A in the input to state" else "B"
    return Layer(conv, (1, 1), kind, colours, 1 if mistake == "colours over all 5h" else 5)(x)


# ---- the mixture


def neighbourhood(kernel: int, channels: int, colour: int, mistake: str = "") -> list[Place]:
    """What the prediction of one colour reads: the rows above, the pixels left, the earlier colours of the pixel."""
    half = kernel // 2
    up = {"a row more": half + 1, "a row less": half - 1}.get(mistake, half)
    places = [(down, right) for down in range(-up, 0) for right in range(-half, half + 1)]
    places += [(0, right) for right in range(-half, 0)]
    if mistake == "a neighbour less on the right":
        places.remove((-1, half))
    earlier = {"own pixel seen": colour + 1, "no colours of the pixel itself": 0}.get(mistake, colour)
    seen = [(channel, *place) for place in places for channel in range(channels)]
    seen += [(channel, 0, 0) for channel in range(earlier)]
    return [place for place in seen if place[0] == colour] if mistake == "colours alone" else seen


def read(image: Array, row: int, column: int, seen: list[Place], mistake: str = "") -> Array:
    """The numbers of a neighbourhood, (n,), and a constant one."""
    if mistake == "a row higher":
        row -= 1
    numbers = []
    for channel, down, right in seen:
        y, x = row + down, column + right
        inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
        numbers.append(image[channel, y, x] if inside else float(mistake == "ones outside the image"))
    return np.array([*numbers, 0.0 if mistake == "no offset" else 1.0])


def weights_of(module: nn.Module, kernel: int, seen: list[Place]) -> Array:
    """Of every output map, for the numbers of a neighbourhood and the constant one: (out, n + 1)."""
    weight, half = array(module.weight), kernel // 2
    columns = [weight[:, channel, max(0, half + down), half + right] for channel, down, right in seen]
    return np.stack([*columns, offset(module)], 1)


def colour_of(index: int, width: int, channels: int) -> int:
    """Contiguous groups of feature maps, R before G before B."""
    return channels * index // width


def over_neighbourhoods(module: nn.Module, image: Array, kernel: int, blocks: int, mistake: str) -> Array:
    """Linear in the neighbourhood of each map's colour: (out, H, W)."""
    channels, height, width = image.shape
    out = len(array(module.weight))
    found = np.zeros((out, height, width))
    groups = np.array([colour_of(index % (out // blocks), out // blocks, channels) for index in range(out)])
    for colour in range(channels):
        seen = neighbourhood(kernel, channels, colour, mistake)
        weights = weights_of(module, kernel, seen)[groups == colour]
        for row, column in itertools.product(range(height), range(width)):
            found[groups == colour, row, column] = weights @ read(image, row, column, seen, mistake)
    return found


def density(mixture: ScaleMixture, colour: int, a: Array, b: Array, x: Array, y: float, mistake: str) -> float:
    """p(y | x) of equations 4 and 5. Shapes: a (components, n), b (features, n), x (n,)."""
    eta, alpha, beta = (array(each)[colour] for each in (mixture.eta, mixture.alpha, mixture.beta))
    if mistake == "one mean for all components":
        a = a[:1].repeat(len(a), 0)
    if mistake == "the means of other components":
        a = a[::-1]
    prior, normal = np.zeros_like(eta), np.zeros_like(eta)
    for c, s in np.ndindex(*eta.shape):
        power = 1 if mistake == "beta not squared" else 2
        k = sum(beta[c, n] ** power * np.outer(b[n], b[n]) for n in range(len(b)))  # K_c, (n, n)
        energy = np.abs(b @ x) @ beta[c] ** 2 if mistake == "features not squared" else x @ k @ x
        half = 1.0 if mistake == "energy without the half" else 0.5
        precision = np.exp(alpha[c, s])
        times = {
            "the energy times the variance": 1 / precision, "precision squared in the energy": precision**2,
            "one energy for all scales": 1.0, "weights that do not depend on x": 0.0,
        }.get(mistake, precision)  # fmt: skip
        prior[c, s] = np.exp(eta[c, s] - half * times * energy)
        exponent = {"precision squared in the normal": 2, "standard deviation for variance": 0.5}.get(mistake, 1)
        precision = precision**exponent
        root = 1.0 if mistake == "normal without its constant" else np.sqrt(precision / (2 * np.pi))
        normal[c, s] = root * np.exp(-0.5 * precision * (y - a[c] @ x) ** 2)
    if mistake == "each component normalised":
        return float((prior / prior.sum(1, keepdims=True) * normal).sum() / len(prior))
    return float((prior / prior.sum() * normal).sum())


def part(rows: Array, colour: int, channels: int) -> Array:
    """The rows of one colour."""
    return np.split(rows, channels)[colour]


def mixture_of_states(model: PixelModel, h: Array, levels: Array, mistake: str) -> Array:
    """Equation 8: the mixture of the last layer's states; a colour's mixture reads its group and the earlier ones."""
    mixture, channels = model.network.readout, model.channels
    unit = 2 / (model.levels - 1)  # the network works on -1..1, densities are per level
    found = np.zeros_like(levels)
    for colour, row, column in np.ndindex(*levels.shape):
        last = channels - 1 if mistake == "mixture without mask" else colour
        seen = [index for index in range(len(h)) if colour_of(index, len(h), channels) <= last]
        if mistake == "mixture of one colour's states":
            seen = [index for index in range(len(h)) if colour_of(index, len(h), channels) == colour]
        a, b = (
            np.column_stack([array(each.weight)[:, seen, 0, 0], offset(each)])
            for each in (mixture.predict, mixture.describe)
        )
        x = np.array([*h[seen, row, column], 0.0 if mistake == "no offset" else 1.0])
        y = levels[colour, row, column] * unit - 1
        a, b = part(a, colour, channels), part(b, colour, channels)
        found[colour, row, column] = density(mixture, colour, a, b, x, y, mistake)
    return found * (1.0 if mistake == "density of scaled pixels" else unit)


# ---- the networks
# Each from scaled pixels (C, H, W). With the head "mcgsm" they give the density of real-valued levels (C, H, W), with
# another head the parameters (params, H, W).


def mdlstm(model: PixelModel, image: Array, levels: Array, options: dict, mistake: str = "") -> Array:
    """Table 1 of the PixelRNN paper with Graves' cell, from the top left."""
    net, colours = model.network, "RGB"[: model.channels]
    first = options["first_kernel"]
    x = Layer(net.first, (first, first), "B" if mistake == "own pixel seen" else "A", colours)(image)  # 2h maps
    skipped = np.zeros_like(x)
    skips = pointwise(net.skips, colours)
    for index, block in enumerate(net.blocks):
        into = input_to_state(block.states, relu(x) if mistake == "a ReLU more" else x, colours, mistake)
        corner = {"down": -1} if mistake == "from the bottom" else {"right": -1} if mistake == "from the right" else {}
        h = states(block.states, into, graves, mistake, **corner)
        (expand,) = pointwise([block.expand], colours, mistake)
        y = expand(h)
        residual = options.get("residual", True) and mistake != "no residual"
        x = x + y if residual else y
        if skips and mistake != "no skip":
            skipped = skipped + skips[index](x)
    x = x + skipped
    for layer in pointwise(net.readout.layers, colours):
        x = layer(relu(x))
    return x


def spatial_lstm(model: PixelModel, image: Array, levels: Array, options: dict, mistake: str = "") -> Array:
    """Equations 6 to 8: the first layer reads a neighbourhood of pixels, a later one the states of the one below."""
    net, colours = model.network, "RGB"[: model.channels]
    first, *others = net.layers
    blocks = 1 if mistake == "colours over all 5h" else 5
    into = over_neighbourhoods(first.inputs[0], image, options["kernel"], blocks, mistake)
    h = states(first, into, spatial, mistake)
    for layer in others:
        above = states(layer, input_to_state(layer, h, colours, mistake), spatial, mistake)
        h = above + h if mistake == "a residual between the layers" else above
    if isinstance(net.readout, ScaleMixture):
        return mixture_of_states(model, h, levels, mistake)
    (readout,) = pointwise([net.readout], colours, mistake)
    return readout(h)


def mcgsm(model: PixelModel, image: Array, levels: Array, options: dict, mistake: str = "") -> Array:
    """Equations 4 and 5 with the neighbourhood itself for x."""
    net, kernel, channels = model.network, options["kernel"], model.channels
    if not isinstance(net.readout, ScaleMixture):
        return over_neighbourhoods(net.readout, image, kernel, 1, mistake)
    unit = 2 / (model.levels - 1)
    found = np.zeros_like(levels)
    for colour in range(channels):
        seen = neighbourhood(kernel, channels, colour, mistake)
        a, b = (
            part(weights_of(each, kernel, seen), colour, channels)
            for each in (net.readout.predict, net.readout.describe)
        )
        for row, column in np.ndindex(*levels.shape[1:]):
            x, y = read(image, row, column, seen, mistake), levels[colour, row, column] * unit - 1
            found[colour, row, column] = density(net.readout, colour, a, b, x, y, mistake)
    return found * (1.0 if mistake == "density of scaled pixels" else unit)


LOOPS = {"mdlstm": mdlstm, "spatial-lstm": spatial_lstm, "mcgsm": mcgsm}


@torch.no_grad()
def enlivened(model: PixelModel) -> PixelModel:
    """Weights far from those of the beginning: gates that are not linear, a mixture of many different Gaussians."""
    for name, weight in model.named_parameters():
        if "start" not in name:
            weight *= 3 if model.config["network"] == "spatial-lstm" else 2
    for module in model.modules():
        if isinstance(module, ScaleMixture):
            nn.init.normal_(module.eta)
            nn.init.uniform_(module.alpha, -1.0, 4.0)
            nn.init.normal_(module.beta, 0.0, 0.6)
    return model


def both_ways(
    network: str, mistake: str = "", *, head: str = "categorical", size: tuple[int, int] = (5, 4), batch: int = 2,
    levels: int = 4, **options: object,
) -> tuple[Array, Array]:  # fmt: skip
    """Parameters, or densities of real-valued levels, by the package and by the loops above."""
    usual: dict[str, dict] = {
        "mdlstm": {"layers": 2, "width": 7, "first_kernel": 5},
        "spatial-lstm": {"layers": 2, "width": 7, "kernel": 5},
        "mcgsm": {"kernel": 5},
    }
    mixed = {"components": 3, "scales": 2} if head == "mcgsm" else {}
    if mixed and "features" in pixelrnn.build(network, size=size, head=head, **usual[network]).config["options"]:
        mixed["features"] = 4
    settings = {**usual[network], **mixed, **options}
    model = enlivened(pixelrnn.build(network, size=size, levels=levels, head=head, **settings)).eval()
    if network == "mdlstm":
        assert with_random_starts(model)
    images = torch.randint(0, levels, (batch, model.channels, *size))
    real = torch.rand(images.shape) * (levels + 1) - 1  # of which the density is asked: from -1 to `levels`
    with torch.no_grad():
        found = model.network(Whole(scale(images, levels, torch.float64)))
        if head == "mcgsm":
            found = model.head.log_density(found, real).exp()
    seen = 2 * images.numpy() / (levels - 1) - 1
    pairs = zip(seen, real.numpy(), strict=True)
    return found.numpy(), np.stack([LOOPS[network](model, image, each, settings, mistake) for image, each in pairs])


def assert_the_same(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_loops_are_those_of_networks() -> None:
    assert set(LOOPS) <= set(NETWORKS)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    "options", [{"width": 5}, {"width": 6}, {"first_kernel": 3, "layers": 3}, {"out_width": 4}, {"layers": 1}], ids=str
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_mdlstm_is_the_loop_of_its_papers(channels: int, options: dict, skip: bool, residual: bool) -> None:
    found, expected = both_ways("mdlstm", channels=channels, skip=skip, residual=residual, **options)
    assert found.shape == (2, 4 * channels, 5, 4)
    assert_the_same(found, expected)


@pytest.mark.parametrize("head", ["mcgsm", "categorical"])
@pytest.mark.parametrize(
    "options", [{"layers": 1}, {"layers": 2}, {"layers": 3, "width": 5}, {"kernel": 3, "width": 6}], ids=str
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_spatial_lstm_is_the_loop_of_its_paper(channels: int, options: dict, head: str) -> None:
    found, expected = both_ways("spatial-lstm", channels=channels, head=head, **options)
    assert found.shape == (2, channels if head == "mcgsm" else 4 * channels, 5, 4)
    assert_the_same(found, expected)


@pytest.mark.parametrize("head", ["mcgsm", "categorical"])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_mcgsm_is_the_loop_of_its_paper(channels: int, kernel: int, head: str) -> None:
    found, expected = both_ways("mcgsm", channels=channels, head=head, kernel=kernel)
    assert found.shape == (2, channels if head == "mcgsm" else 4 * channels, 5, 4)
    assert_the_same(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 2}, {"levels": 256}, {"components": 1, "scales": 1, "features": 1}, {"components": 5, "scales": 1},
        {"components": 1, "scales": 4}, {"features": 9},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("network", ["spatial-lstm", "mcgsm"])
def test_a_mixture_of_any_size_has_the_density_of_its_paper(network: str, options: dict) -> None:
    found, expected = both_ways(network, head="mcgsm", channels=3, **options)
    assert_the_same(found, expected)


@pytest.mark.parametrize("size", [(4, 6), (6, 1), (1, 6), (2, 1), (1, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", LOOPS)
def test_a_network_is_that_loop_on_images_of_any_size(network: str, channels: int, size: tuple[int, int]) -> None:
    head = "categorical" if network == "mdlstm" else "mcgsm"
    for batch in (1, 3):
        found, expected = both_ways(network, head=head, channels=channels, size=size, batch=batch)
        assert_the_same(found, expected)


STATES = [
    "one forget gate for both", "forget gates swapped", "gates in another order", "sigmoid for g",
    "the states of left and above swapped", "state to state masked by colour", "mask A in the input to state",
    "colours over all 5h", "own pixel seen", "1 x 1 without mask",
]  # fmt: skip
SEEN = [
    "a row more", "a row less", "a row higher", "a neighbour less on the right", "ones outside the image",
    "no colours of the pixel itself", "colours alone",
]  # fmt: skip
MIXTURE = [
    "energy without the half", "beta not squared", "features not squared", "precision squared in the energy",
    "precision squared in the normal", "one energy for all scales", "weights that do not depend on x",
    "the energy times the variance", "standard deviation for variance", "normal without its constant",
    "each component normalised", "one mean for all components", "the means of other components", "no offset",
    "density of scaled pixels",
]  # fmt: skip
MISTAKES: dict[tuple[str, str], list[str]] = {  # (network, head)
    ("mdlstm", "categorical"): [
        *STATES, "tanh after the product", "no memory of the pixel above", "forget gates that add up to one",
        "initial states ignored", "from the bottom", "from the right", "a ReLU more", "no residual", "no skip",
    ],
    ("spatial-lstm", "categorical"): [
        *STATES, *SEEN, "tanh before the product", "no tanh", "initial states that are not zero",
        "a residual between the layers",
    ],
    ("spatial-lstm", "mcgsm"): [
        *SEEN, *MIXTURE, "tanh before the product", "forget gates swapped", "mixture without mask",
        "mixture of one colour's states",
    ],
    ("mcgsm", "categorical"): [*SEEN, "own pixel seen"],
    ("mcgsm", "mcgsm"): [*SEEN, *MIXTURE, "own pixel seen"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("network", "head", "mistake"), [(*which, each) for which, several in MISTAKES.items() for each in several]
)
def test_one_mistake_in_a_network_would_be_seen(network: str, head: str, mistake: str) -> None:
    found, expected = both_ways(network, mistake, head=head, channels=3)
    assert np.abs(found - expected).max() > 1e-3


def test_a_neighbourhood_of_five_holds_the_twelve_pixels_of_the_paper() -> None:
    assert len(neighbourhood(5, 1, 0)) == 12
    assert [len(neighbourhood(5, 3, colour)) for colour in range(3)] == [36, 37, 38]
    model = pixelrnn.build("mcgsm", size=(9, 9), levels=4)
    assert model.network.field(4, 4, 9, 9).sum() == 12


@pytest.mark.parametrize("layers", [1, 2])
def test_only_an_mdlstm_learns_its_initial_states(layers: int) -> None:
    names = {
        name: [each for each, _ in pixelrnn.build(name, size=(4, 4), layers=layers, width=4).named_parameters()]
        for name in ("mdlstm", "spatial-lstm")
    }
    assert sum("start" in each for each in names["mdlstm"]) == 2 * layers  # h and c
    assert not any("start" in each for each in names["spatial-lstm"]), "zero in the paper"


# ---- what is seen


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 4), (3, 0), (2, 2), (3, 4)])
def test_the_states_of_an_mdlstm_see_what_is_above_and_left_and_nothing_else(row: int, column: int) -> None:
    recurrence = Recurrence(3, Pointwise(2, 15), [LEFT, ABOVE], [LEFT, ABOVE])
    x = torch.randn(1, 2, 4, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(recurrence(x, Whole(x))[0, :, row, column].sum(), x)
    expected = np.zeros((4, 5), dtype=bool)
    expected[: row + 1, : column + 1] = True
    for maps in (grad[0] != 0).numpy():
        np.testing.assert_array_equal(maps, expected)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("network", "kernel"), [("mdlstm", "first_kernel"), ("spatial-lstm", "kernel")])
@pytest.mark.parametrize(("row", "column"), [(4, 3), (0, 5), (5, 0), (3, 8)])
def test_a_network_from_the_top_left_sees_a_rectangle_that_ends_where_its_first_kernel_does(
    network: str, kernel: str, layers: int, row: int, column: int
) -> None:
    """Nothing that is above and further right, and more layers see no more."""
    model = pixelrnn.build(network, size=(6, 9), levels=4, layers=layers, width=4, **{kernel: 5})
    expected = torch.zeros(6, 9, dtype=torch.bool)
    for y, x in itertools.product(range(6), range(9)):
        expected[y, x] = (y < row and x <= column + 2) or (y == row and x < column)
    assert torch.equal(seen_by(model, row, column, (6, 9)), expected)
    assert torch.equal(model.network.field(row, column, 6, 9), expected)


# ---- the encoder


def encoder(module: MultiDirectionalLSTM, image: Array, mistake: str = "") -> Array:
    """2^n hidden layers, one from each corner of the image, and every one of them feeds what comes next."""
    x = image
    for index, (corners, join) in enumerate(zip(module.corners, module.joins, strict=True)):
        ways = list(itertools.product((1, -1), repeat=2))  # (down, right): from the top left, top right, ...
        if mistake == "one corner four times":
            ways = [(1, 1)] * 4
        if mistake == "corners in another order":
            ways = [(down, right) for right, down in ways]
        found = []
        for (down, right), corner in zip(ways, corners, strict=True):
            h = states(corner, input_to_state(corner, x, "R"), graves, mistake, down=down, right=right)
            found.append(h[:, ::down, ::right] if mistake == "states not turned back" else h)
        if mistake == "without the last corner":
            found[-1] = np.zeros_like(found[-1])
        x = Layer(join, (1, 1), "everything", "R")(np.concatenate(found))
        if (mistake == "tanh at the end" or index < len(module.joins) - 1) and mistake != "no tanh between layers":
            x = np.tanh(x)
    return x


def encoded(
    mistake: str = "", *, channels: int = 3, size: tuple[int, int] = (5, 4), batch: int = 2, **options: int
) -> tuple[Array, Array]:
    module = MultiDirectionalLSTM(channels, **{"width": 4, "out_width": 6, "layers": 2, **options})
    with torch.no_grad():
        for weight in module.parameters():
            weight *= 2
        with_random_starts(module)
        images = torch.randn(batch, channels, *size)
        found = module(images).numpy()
    return found, np.stack([encoder(module, image, mistake) for image in images.numpy()])


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 4), (4, 7), (1, 6), (6, 1), (1, 1)], ids=str)
def test_a_multi_directional_lstm_is_the_loop_of_its_paper(size: tuple[int, int], channels: int, layers: int) -> None:
    for batch in (1, 3):
        found, expected = encoded(size=size, channels=channels, layers=layers, batch=batch)
        assert found.shape == (batch, 6, *size)
        assert_the_same(found, expected)


@pytest.mark.parametrize(
    "mistake",
    [
        "one corner four times", "corners in another order", "states not turned back", "without the last corner",
        "tanh at the end", "no tanh between layers", "one forget gate for both", "forget gates swapped",
        "no memory of the pixel above", "tanh after the product", "sigmoid for g", "gates in another order",
        "the states of left and above swapped", "initial states ignored",
    ],
)  # fmt: skip
def test_one_mistake_in_a_multi_directional_lstm_would_be_seen(mistake: str) -> None:
    found, expected = encoded(mistake)
    assert np.abs(found - expected).max() > 1e-3


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("size", [(4, 5), (1, 5), (5, 1)], ids=str)
def test_everything_that_a_multi_directional_lstm_says_depends_on_every_pixel(
    size: tuple[int, int], layers: int
) -> None:
    module = MultiDirectionalLSTM(2, width=3, out_width=2, layers=layers)
    image = torch.randn(1, 2, *size, requires_grad=True)
    found = module(image)
    for index in np.ndindex(*found.shape):
        (grad,) = torch.autograd.grad(found[index], image, retain_graph=True)
        assert (grad != 0).all(), f"{index} does not see {(grad == 0).nonzero()[0].tolist()}"


def test_images_of_a_batch_do_not_hear_of_each_other_in_a_multi_directional_lstm() -> None:
    module = MultiDirectionalLSTM(1, width=3, out_width=2, layers=2)
    images = torch.randn(3, 1, 4, 5)
    with torch.no_grad():
        alone = torch.cat([module(image[None]) for image in images])
        torch.testing.assert_close(module(images), alone, rtol=0, atol=1e-12)


def test_the_gradients_of_a_multi_directional_lstm_are_differences_of_what_it_says() -> None:
    module = MultiDirectionalLSTM(1, width=2, out_width=1, layers=2)
    with_random_starts(module)
    image = torch.randn(2, 1, 2, 3, requires_grad=True)
    names, weights = zip(*module.named_parameters(), strict=True)

    def said(image: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, given, strict=True)), (image,))

    assert torch.autograd.gradcheck(said, (image, *weights), fast_mode=True)


@pytest.mark.parametrize(
    "options", [{}, {"layers": 2, "width": 4}, {"head": "categorical"}, {"head": "mcgsm"}], ids=str
)
def test_a_multi_directional_network_cannot_be_built_as_a_model_of_images(options: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        pixelrnn.build("mdrnn", size=(5, 4), levels=4, **options)
    says = str(caught.value)
    assert "reads the whole image" in says
    assert "cannot predict" in says
    assert '"mdlstm"' in says, "what to take instead"
    assert "pixelrnn.networks.MultiDirectionalLSTM" in says, "where it is found"
    assert "mdrnn" not in pixelrnn.networks()


def test_the_mixture_of_a_head_has_its_components_and_scales() -> None:
    model = pixelrnn.build("spatial-lstm", size=(4, 4), channels=3, levels=4, layers=1, width=5, components=3, scales=2)
    assert isinstance(model.head, MCGSM)
    assert (model.head.components, model.head.scales) == (3, 2)
    assert model.network.readout.eta.shape == model.network.readout.alpha.shape == (3, 3, 2)  # colours first
    assert model.network.readout.beta.shape == (3, 3, 16)
