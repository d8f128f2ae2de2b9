"""Batches of images in an order that is a function of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from pixelrnn.conditions import torch_labels
from pixelrnn.data import ImageData, Levels

# Larger ones are slower on a CPU: their feature maps are allocated anew from the system each time.
_VALIDATION_BATCH = 25


class Batch(NamedTuple):
    """Images (B, C, H, W) uint8, and their labels (B,) int64 where the data has any."""

    pixels: Tensor
    labels: Tensor | None


class Images(Dataset[Batch]):
    """Pixels (N, C, H, W) uint8, fetched a batch at a time; the array may be memory-mapped, or be put on a device."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.pixels: np.ndarray | Tensor = pixels
        self.labels = torch_labels(labels)

    def put_on(self, device: torch.device) -> None:
        """Keep the pixels on an accelerator, if they take at most a quarter of the memory that is free there."""
        if isinstance(self.pixels, np.ndarray) and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.pixels.nbytes <= free // 4:
                self.pixels = torch.from_numpy(np.ascontiguousarray(self.pixels)).to(device)
                self.labels = None if self.labels is None else self.labels.to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        labels = None if self.labels is None else self.labels[torch.tensor(indices, device=self.labels.device)]
        if isinstance(self.pixels, Tensor):
            return Batch(self.pixels[torch.tensor(indices, device=self.pixels.device)], labels)
        return Batch(torch.from_numpy(np.ascontiguousarray(self.pixels[indices])), labels)


class EpochOrder(Sampler[int]):
    """A permutation of `length` images for each epoch, from the seed and the epoch alone."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        return iter(order.tolist())


class PixelBatches(lightning.LightningDataModule):
    """Training images (source values where pixels are drawn anew, else levels) and validation images (levels)."""

    def __init__(self, train: ImageData, valid: ImageData, levels: Levels, batch_size: int, seed: int) -> None:
        super().__init__()
        self.train = Images(train.images if levels.redrawn else levels.fixed(train.images), train.labels)
        self.valid = Images(levels.fixed(valid.images), valid.labels)
        self.batch_size, self.seed = batch_size, seed

    def setup(self, stage: str) -> None:
        """Once for a training: these data sets fit into the memory of a GPU."""
        if self.trainer is not None:
            for images in (self.train, self.valid):
                images.put_on(self.trainer.strategy.root_device)

    def train_dataloader(self) -> DataLoader[Batch]:
        order = BatchSampler(EpochOrder(len(self.train), self.seed), self.batch_size, drop_last=False)
        return DataLoader(self.train, batch_sampler=order, collate_fn=_as_it_is)

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.valid, batch_size=_VALIDATION_BATCH, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
