"""Batches of images in an order that is a function of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from pixelrnn.data import ImageData, Levels

# Larger ones are slower on a CPU: their feature maps are allocated anew from the system each time.
_VALIDATION_BATCH = 25


class Images(Dataset[Tensor]):
    """Pixels (N, C, H, W) uint8, fetched a batch at a time; the array may be memory-mapped, or be put on a device."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels: np.ndarray | Tensor = pixels

    def put_on(self, device: torch.device) -> None:
        """Keep the pixels on an accelerator, if they take at most a quarter of the memory that is free there."""
        if isinstance(self.pixels, np.ndarray) and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.pixels.nbytes <= free // 4:
                self.pixels = torch.from_numpy(np.ascontiguousarray(self.pixels)).to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> Tensor:
        if isinstance(self.pixels, Tensor):
            return self.pixels[torch.tensor(indices, device=self.pixels.device)]
        return torch.from_numpy(np.ascontiguousarray(self.pixels[indices]))


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
        self.train = Images(train.images if levels.redrawn else levels.fixed(train.images))
        self.valid = Images(levels.fixed(valid.images))
        self.batch_size, self.seed = batch_size, seed

    def setup(self, stage: str) -> None:
        """Once for a training: these data sets fit into the memory of a GPU."""
        if self.trainer is not None:
            for images in (self.train, self.valid):
                images.put_on(self.trainer.strategy.root_device)

    def train_dataloader(self) -> DataLoader[Tensor]:
        order = BatchSampler(EpochOrder(len(self.train), self.seed), self.batch_size, drop_last=False)
        return DataLoader(self.train, batch_sampler=order, collate_fn=_as_it_is)

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(self.valid, batch_size=_VALIDATION_BATCH, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
