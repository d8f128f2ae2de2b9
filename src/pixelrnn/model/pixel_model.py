"""A causal network, a head and a geometry: one model for likelihood, sampling and completion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelrnn.canvas import Order, Whole, each_order, scale
from pixelrnn.checks import Images, Labels, Numbers, check_memory, checked_images, class_number
from pixelrnn.errors import ConditionError, ConfigError, ImageError, ModelFolderError
from pixelrnn.exact import (
    PRECISE,
    PRECISIONS,
    IntegerHead,
    Precision,
    approximate,
    approximate_condition,
    check_quantisable,
    problem,
    ranges,
    with_bounds,
    with_integer_layers,
)
from pixelrnn.fields import options_of_call, validated
from pixelrnn.heads import HEADS, Head, head_options
from pixelrnn.model import model_folder as folders
from pixelrnn.model.compression import CompressionMixin
from pixelrnn.model.generation import GenerationMixin
from pixelrnn.model.model_folder import folder_of
from pixelrnn.model.options import (
    COLOURS,
    CONDITION,
    ConditionOptions,
    build_condition,
    check_geometry,
    checked_colours,
)
from pixelrnn.model.renamed import accepts_map, rename_state, renamed
from pixelrnn.model.sharing import SharingMixin
from pixelrnn.networks import build_network, options_of
from pixelrnn.program import Programs
from pixelrnn.sampling.choice import Choice
from pixelrnn.sampling.pace import Pace


class PixelModel(GenerationMixin, CompressionMixin, SharingMixin, nn.Module):
    """An autoregressive image model: the exact probability of every pixel given the pixels before it.

    Images are integers 0..levels-1 of shape (B, C, H, W), as input and output; outputs are uint8 on the model's device.
    They may have any size; `size` is the one for training. `.to(device)` and `.double()` work as on any module.

    Arguments:
        network   a name of `pixelrnn.network_names()`
        head      "bernoulli" (binary), "categorical", "mcgsm" or "logistic-mixture"
        size      (H, W)
        channels  number of colours, 1 to 256; red comes first, then green, then blue
        levels    2 to 256
        options   of the network, of the head and of the condition (`CONDITION`), by name; and colour_order, the
                  channels in the order in which they are generated, [1, 0, 2] for green first
        exact     how integers stand for numbers (`exact.Precision`), for a model in whole numbers: see `quantised`
    Raises:       ConfigError for an unknown name or a value out of range
    """

    def __init__(
        self,
        network: str,
        head: str,
        size: tuple[int, int],
        channels: int,
        levels: int,
        options: dict[str, Any],
        exact: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_geometry(head, size, channels, levels)
        size, channels, levels = (int(size[0]), int(size[1])), int(channels), int(levels)
        kind = HEADS[head]
        of_head = {key: options[key] for key in head_options(kind) if key in options}
        of_condition = {key: options[key] for key in CONDITION if key in options}
        self.colour_order = checked_colours(options.get(COLOURS), channels)
        others = {**of_head, **of_condition, COLOURS: None}
        of_network = {key: value for key, value in options.items() if key not in others}
        head_settings = validated(options_of_call(kind), of_head, f"option of {head}").model_dump()
        condition_settings = validated(ConditionOptions, of_condition, "option of the condition")
        self.head: Head = kind(channels, levels, **head_settings)
        self.condition, self.encoder = build_condition(condition_settings, size, channels)
        condition_width = 0 if self.condition is None else self.condition.width
        self.network = build_network(network, self.head, of_network, condition_width)
        self.size, self.channels, self.levels = size, channels, levels
        settings = {**options_of(network), **head_settings, **of_network}
        if self.colour_order is not None:
            settings[COLOURS] = self.colour_order
        if condition_width:
            settings.update(condition_settings.model_dump())
        else:
            settings.update(of_condition)
        self.config: dict[str, Any] = {
            "network": network,
            "options": settings,
            "head": head,
            "size": list(size),
            "channels": channels,
            "levels": levels,
        }
        if exact is not None:
            precision = validated(Precision, exact, "key of exact")
            integers = check_quantisable(self.network, self.head, self.condition)
            with_integer_layers(self.network, self.condition, precision)
            self.head = integers
            self.config["exact"] = precision.model_dump()
        self._pace, self._choice, self._programs = Pace(), Choice(), Programs()
        self.register_load_state_dict_pre_hook(rename_state)  # type: ignore[no-untyped-call]
        self.about: dict[str, Any] = {}  # provenance: preset, data, results; saved with the model

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def num_parameters(self) -> int:
        """The number of weights, including masked and frozen ones."""
        return sum(each.numel() for each in self.parameters())

    @property
    def dimensions(self) -> int:
        """Pixels times colours of one image of the training size."""
        return self.size[0] * self.size[1] * self.channels

    def forward(self, images: Images) -> Tensor:
        """The same as `log_prob(images)`."""
        return self.log_prob(images)

    @accepts_map
    def log_prob(
        self,
        images: Images,
        *,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        order: Order | str | Sequence[Order | str] | None = None,
        reduce: bool = True,
        check: bool = True,
    ) -> Tensor:
        """Exact log-probability in nats: (B,), or with reduce=False that of every pixel and colour given all earlier
        ones, (B, C, H, W). Differentiable with respect to the weights.

        Arguments:
            label          0..classes-1, or names of classes, one for all images or one per image (B,); or shares of
                           the classes that sum up to 1, (classes,) or (B, classes), to go from one to another; None: no
                           label
            vector         (vector_size,) or (B, vector_size)
            condition_map  (map_channels, H, W) or (B, map_channels, H, W)
            order          the generation order or its name, for a network that takes any; None: the network's own;
                           several, or "s-curves" for all eight: the mean of the probabilities of whole images
            check          False skips the checks: the arguments must be tensors of the right shape, (B, ...), type
                           and range, on the model's device
        Raises:            ImageError if the images do not fit the model, ConditionError if the condition does not,
                           ConfigError if the network cannot take the order, MemoryLimitError if memory is too small

        >>> import pixelrnn, torch
        >>> model = pixelrnn.build("gated-pixelcnn", size=(8, 8), levels=2, layers=2, width=4)
        >>> images = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
        >>> model.log_prob(images).shape, model.log_prob(images, reduce=False).shape
        (torch.Size([5]), torch.Size([5, 1, 8, 8]))
        """
        if order == "s-curves" or (isinstance(order, Sequence) and not isinstance(order, str)):
            several = [order] if isinstance(order, str) else order
            others = {"label": label, "vector": vector, "condition_map": condition_map, "check": check}
            return self._mean_over(several, images, reduce, **others)
        pixels = checked_images(images, self.channels, self.levels, self.device) if check else torch.as_tensor(images)
        size = (pixels.shape[2], pixels.shape[3])
        s = self.embed_condition(
            len(pixels), size, label=label, vector=vector, condition_map=condition_map, check=check
        )
        order = self.network.checked_order(order, size)
        if check:
            least = len(pixels) * size[0] * size[1] * self.head.num_params * self.dtype.itemsize
            check_memory(f"The parameters of {len(pixels)} images of {size[0]} x {size[1]}", least, self.device)
        pixels = self.in_order(pixels)
        params = self.network(Whole(self.head.seen(pixels, self.dtype), s, order))
        nats = self.in_order(self.head.log_prob(params, pixels), back=True)
        return nats.sum((1, 2, 3)) if reduce else nats

    def _mean_over(self, orders: Sequence[Order | str], images: Images, reduce: bool, **others: Any) -> Tensor:
        """The logarithm of the mean probability under several orders.

        Source: arXiv 2006.12486: probabilities of images are averaged, not those of pixels
        """
        orders = each_order(orders)
        if not (reduce and orders):
            raise ConfigError("Several orders give one probability of a whole image: give some, and leave reduce=True.")
        nats = torch.stack([self.log_prob(images, order=order, **others) for order in orders])
        return nats.logsumexp(0) - math.log(len(orders))

    @accepts_map
    def embed_condition(
        self,
        n: int,
        size: tuple[int, int] | None = None,
        *,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        check: bool = True,
    ) -> Tensor | None:
        """The condition map s of n images, as the network sees it; None without a condition.

        Shapes: (n, condition_width, H, W), or (n, condition_width, 1, 1) if s does not depend on location
        Raises: ConditionError if the condition does not fit the model
        """
        condition: Any = (label, vector, condition_map)
        if check:
            condition = self._checked_condition(n, self.size if size is None else size, *condition)
        found: Tensor | None = None if self.condition is None else self.condition(*condition)
        return found

    def encode(self, images: Images) -> Tensor:
        """The code of images, for a model that has an encoder: (B, code_size), to be passed as `vector`.

        Raises: ImageError if the images do not fit; ConditionError if the model has no encoder
        """
        if self.encoder is None:
            raise ConditionError("The model has no encoder. Build one with code_size=10, or train mnist-autoencoder.")
        pixels = checked_images(images, self.channels, self.levels, self.device)
        if tuple(pixels.shape[2:]) != self.size:
            raise ImageError(
                f"The encoder was built for images of {self.size[0]}x{self.size[1]}, but these are "
                f"{pixels.shape[2]}x{pixels.shape[3]}. Resize them first."
            )
        code: Tensor = self.encoder(scale(pixels, self.levels, self.dtype))
        return code

    def classify(self, images: Images, *, prior: Numbers | None = None, **condition: Any) -> Tensor:
        """The most probable label of each image, (B,): see `label_log_prob`."""
        return self.label_log_prob(images, prior=prior, **condition).argmax(1)

    @torch.no_grad()
    def label_log_prob(self, images: Images, *, prior: Numbers | None = None, **condition: Any) -> Tensor:
        """log p(label | image) by Bayes' rule, (B, classes): p(image | label) p(label), normalised.

        Arguments:
            prior  p(label), (classes,), in any scale; None: the frequencies in training, if known, else uniform
            condition  vector= or condition_map=, if the model takes them too
        Raises:    ImageError if the images do not fit; ConditionError if the model has no classes
        """
        classes = 0 if self.condition is None else self.condition.classes
        if not classes:
            raise ConditionError(
                "The model is not conditioned on labels, so it cannot classify. Build one with classes=10."
            )
        prior = self.about.get("class_counts", [1.0] * classes) if prior is None else prior
        weights = torch.as_tensor(prior, dtype=torch.float64, device=self.device)
        if (
            weights.shape != (classes,)
            or not bool(((weights >= 0) & weights.isfinite()).all())
            or not bool(weights.sum() > 0)
        ):
            raise ConditionError(f"The prior must be {classes} non-negative numbers, not all zero, but got {prior!r}.")
        joint = torch.stack([self.log_prob(images, label=label, **condition) for label in range(classes)], 1).double()
        return (joint + (weights / weights.sum()).log()).log_softmax(1)

    def bits_per_dim(self, images: Images, **condition: Any) -> Tensor:
        """Bits per pixel and colour, (B,): the negative log-probability / (H W C ln 2). Conditions and order: see
        `log_prob`."""
        nats = self.log_prob(images, **condition)
        return -nats / (math.prod(np.shape(images)[1:]) * math.log(2))

    @property
    def is_exact(self) -> bool:
        """Whether the model computes with whole numbers alone: see `quantised`."""
        return isinstance(self.head, IntegerHead)

    @property
    def takes_labels(self) -> bool:
        """Whether the model is conditioned on the class of an image."""
        return self.condition is not None and bool(self.condition.classes)

    @torch.no_grad()
    def quantised(
        self,
        images: Images,
        *,
        label: Labels | None = None,
        on_try: Callable[[int, int], None] = lambda done, total: None,
    ) -> PixelModel:
        """The same model in whole numbers: its probabilities are the same, to the last bit, on every machine, in every
        batch and with any number of threads. That is what lossless compression needs.

        It is a model like any other, on the CPU; only its likelihood is not differentiable. Weights and feature maps
        are rounded; some ways to do that are tried, and the one is taken that gives `images` the highest likelihood, or
        the first one that costs less than 0.01 %.

        Arguments:
            images  of the kind that the model is for, (B, C, H, W); a few thousand pixels are enough
            label   of the images, if the model takes labels
            on_try  called with (tried, ways) after each
        Raises:     ConfigError for a network, a head or a condition without an exact form; ImageError

        >>> import pixelrnn
        >>> model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=2, width=8)
        >>> images = torch.randint(0, 2, (16, 1, 8, 8), dtype=torch.uint8)
        >>> exact = model.quantised(images)
        >>> torch.allclose(exact.log_prob(images), model.log_prob(images), rtol=0.01)
        True
        """
        integers = check_quantisable(self.network, self.head, self.condition)
        pixels = checked_images(images, self.channels, self.levels, torch.device("cpu"))
        wanted: list[Any] = [self.config[key] for key in _GEOMETRY]
        trained: list[Tensor] = []
        seen = ranges(self.network, lambda: trained.append(self.log_prob(images, label=label)))
        exactly = -float(trained[0].double().sum())

        def made(precision: Precision) -> tuple[float, PixelModel]:
            model = PixelModel(*[*wanted, precision.model_dump()]).eval()
            approximate(model.network, self.network.cpu(), integers, precision, seen)
            if model.condition is not None and self.condition is not None:
                approximate_condition(model.condition, self.condition.cpu(), precision)
            return -float(model.log_prob(pixels, label=label).double().sum()), model

        nats, best = math.inf, self
        for tried, precision in enumerate(PRECISIONS):
            found = made(precision)
            on_try(tried + 1, len(PRECISIONS))
            nats, best = min((nats, best), found, key=lambda each: each[0])
            if nats <= exactly * (1 + _NOTHING):
                break
        if nats > exactly * (1 + _COST):
            best = made(PRECISE)[1]
        best.about = dict(self.about)
        return best

    def save(self, folder: str | Path, card: str | None = None, *, half: bool = False) -> None:
        """Write the model as a folder: config.json, model.safetensors, README.md; with `half`, weights in float16.

        Raises: RunFolderError if the folder cannot be written
        """
        config = {**self.config, "parameters": self.num_parameters, "about": self.about}
        weights = {name: each.half() if half else each for name, each in self.state_dict().items()}
        folders.write_folder(Path(folder), config, weights, card or self._plain_card())

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> PixelModel:
        """Load a model from its folder, or one that comes with the package by name, or of the Hub by its address
        ("hf://user/name"), in evaluation mode.

        Nothing is unpickled, and the hash of the weights is verified. float16 weights become float32.

        Raises: ModelFolderError if a file is missing, damaged, or was not written by this package; ConfigError if the
                device is not available
        """
        path = folder_of(folder)
        config = folders.read_config(path)
        wanted = [config[key] for key in (*_GEOMETRY, "exact")]
        try:
            with torch.device("meta"):  # find the sizes before allocating memory
                expected = {name: each.shape for name, each in cls(*wanted).state_dict().items()}
        except (ConfigError, TypeError) as error:
            raise ModelFolderError(f"{path / folders.CONFIG} does not describe a model: {error}") from error
        largest = 8 * sum(shape.numel() for shape in expected.values()) + 1_000_000
        tensors = with_bounds(renamed(folders.read_weights(path, config, largest)))
        for name in {**expected, **tensors}:
            found = tensors[name].shape if name in tensors else None
            if found != expected.get(name) or not tensors[name].is_floating_point():
                raise ModelFolderError(
                    f"The weights in {path} do not fit the network in its config: {name} should be "
                    f"{_shape(expected.get(name))}, but it is {_shape(found)}. Copy the folder again."
                )
        model = cls(*wanted)
        if any(each.dtype == torch.float64 for each in tensors.values()):
            model.double()
        model.load_state_dict(tensors)
        wrong = problem(model.network, model.condition)
        if wrong:
            raise ModelFolderError(f"{path} is not an exact model: {wrong}. Copy the folder again.")
        model.about = config["about"]
        try:
            return model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"The model cannot be moved to the device {str(device)!r}: {error}") from error

    def _checked_condition(
        self, n: int, size: tuple[int, int], label: Any, vector: Any, condition_map: Any
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        checked = super()._checked_condition(n, size, self._numbers_of(label), vector, condition_map)
        if isinstance(self.head, IntegerHead) and checked[0] is not None and checked[0].is_floating_point():
            raise ConditionError("An exact model takes one label for each image, not shares of classes.")
        return checked

    def _numbers_of(self, label: Any) -> Any:
        """The label or labels, with names of classes replaced by their numbers if the model knows the names.

        Raises: ConditionError if there is no such class
        """
        names = self.about.get("class_names")
        if names and isinstance(label, str):
            return class_number(label, names)
        is_list = isinstance(label, list | tuple) or (
            isinstance(label, np.ndarray) and label.dtype.kind == "U" and label.ndim
        )
        if names and is_list:
            return [class_number(each, names) if isinstance(each, str) else each for each in label]
        return label

    def _plain_card(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in self.config["options"].items())
        height, width = self.size
        return (
            f"# {self.config['network']}\n\n"
            f"A pixelrnn model of {height} x {width} images with {self.channels} channel(s) and {self.levels} levels; "
            f"{self.num_parameters:,} parameters; head: {self.config['head']}; {settings}.\n\n"
            "Load it with `pixelrnn.load(FOLDER)`.\n"
        )


_NOTHING = 1e-4  # of the bits: rounding that costs less is not worth another try
_COST = 0.003  # of the bits: if rounding costs more in float32, integers are carried by float64
_GEOMETRY = ("network", "head", "size", "channels", "levels", "options")
"""What a model is built from, in the order of the arguments."""


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(tuple(shape))
