"""The devices and processes of a training run."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import torch
from lightning.pytorch.strategies import StrategyRegistry

from pixelrnn.errors import ConfigError, unknown
from pixelrnn.model.processes import LAUNCHERS


@dataclass(frozen=True)
class Machine:
    """The devices and processes of a training run.

    device        "cpu", "cuda", or "auto": a CUDA GPU if there is one
    devices       processes on each machine, one per device
    nodes         machines; each runs the same command, started by torchrun or SLURM
    strategy      a strategy of Lightning: "auto" (ddp for several processes), "ddp", ...
    workers       data-loading workers per process, for data sets that stay on disk
    save_minutes  minutes between checkpoints within an epoch; there is one after each epoch anyway
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    workers: int = 0
    save_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name, least in (("devices", 1), ("nodes", 1), ("workers", 0), ("save_minutes", 0)):
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} must be {least} or more, not {getattr(self, name)}.")
        if self.chosen_strategy not in ("auto", *StrategyRegistry.available_strategies()):
            raise unknown("strategy", self.strategy, ["auto", *StrategyRegistry.available_strategies()])
        processes = self.devices * self.nodes
        # Not `launched`, which refuses the processes that Lightning starts: their environment has no rank.
        started = [os.environ.get(world, "1") for rank, world, _ in LAUNCHERS if rank in os.environ]
        for number in started:
            if number not in ("1", str(processes)):
                raise ConfigError(
                    f"A launcher started {number} processes, but --devices {self.devices} and --nodes {self.nodes} "
                    f"make {processes}. Set both as in the launcher's command, or run without a launcher."
                )
        if self.nodes > 1 and not started:
            raise ConfigError(
                f"Training on {self.nodes} machines needs a launcher that starts this command on each: torchrun, or "
                "srun in a SLURM job. See docs/scaling.md."
            )

    @property
    def accelerator(self) -> str:
        """The accelerator for Lightning, whose own "auto" may choose one without float64, which likelihoods need."""
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device

    @property
    def chosen_strategy(self) -> str:
        """The strategy for Lightning: "auto" is "ddp" for several processes."""
        several = self.devices * self.nodes > 1
        return "ddp" if several and self.strategy == "auto" else self.strategy

    def described(self) -> str:
        """The hardware, for reports."""
        processes = self.devices * self.nodes
        each = f"{processes} processes, each " if processes > 1 else ""
        if self.device != "cpu" and torch.cuda.is_available():
            return f"{each}{torch.cuda.get_device_name()}"
        return f"{each}{torch.get_num_threads()} CPU thread(s), {platform.machine()}"
