"""A training whose weights are cut among processes (FSDP2), as docs/scaling.md shows it.

python sharded.py PROCESSES
"""

from __future__ import annotations

import sys
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader

import pixelrnn


class Sharded(lightning.LightningModule):
    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.cut = cut
        torch.manual_seed(0)
        self.model = pixelrnn.build("gated-pixelcnn", size=(8, 8), levels=4, layers=2, width=8)

    def configure_model(self) -> None:
        if self.cut:
            fully_shard(self.model, mesh=self.device_mesh["data_parallel"])
            register_fsdp_forward_method(self.model, "log_prob")

    def training_step(self, images: Tensor, batch_idx: int) -> Tensor:
        return -self.model.log_prob(images).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)

    def on_train_end(self) -> None:
        parts = [each.full_tensor() if isinstance(each, DTensor) else each for each in self.model.parameters()]
        total = float(sum(each.detach().double().abs().sum() for each in parts))
        if self.global_rank == 0:
            print(f"weights {total!r} sharded {any(isinstance(each, DTensor) for each in self.model.parameters())}")


if __name__ == "__main__":
    count = int(sys.argv[1])
    images = torch.randint(0, 4, (16, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    options: dict[str, Any] = {"strategy": ModelParallelStrategy()} if count > 1 else {}
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=count,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    trainer.fit(Sharded(count > 1), DataLoader(images, batch_size=4))
