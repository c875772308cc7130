"""Batches of K networks side by side: those of one seed are made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from pai_bench.data.image_tensors import Batch
from pai_bench.data.module import EvaluationBatches, InMemoryData, TrainBatches


class BundleBatch(NamedTuple):
    """A training batch of each network; a tuple, so that Lightning can convert what is in it."""

    of_seeds: Sequence[Batch]
    """(images, labels) of each seed, shaped (N, C, H, W) and (N,)."""
    seed_of: Sequence[int]
    """Index in `of_seeds`, for each network."""

    @property
    def size(self) -> int:
        """Number of images of one network."""
        return len(self.of_seeds[0][1])

    def of(self, network: int) -> Batch:
        """The batch of one network."""
        return self.of_seeds[self.seed_of[network]]

    def images(self) -> Tensor:
        """Images of all networks side by side: (N, K * C, H, W)."""
        if len(self.of_seeds) == 1:
            return self.of_seeds[0][0].repeat(1, len(self.seed_of), 1, 1)
        return torch.cat([self.of_seeds[seed][0] for seed in self.seed_of], 1)

    def labels(self) -> Tensor:
        """Labels of all networks: (N, K)."""
        return torch.stack([self.of_seeds[seed][1] for seed in self.seed_of], 1)


class BundleBatches:
    """A resumable data loader: the batches of each seed, in the order that they have alone."""

    def __init__(self, loaders: Sequence[TrainBatches], seed_of: Sequence[int]) -> None:
        self._loaders, self._seed_of = loaders, seed_of

    def __len__(self) -> int:
        return len(self._loaders[0])

    def __iter__(self) -> Iterator[BundleBatch]:
        for batches in zip(*self._loaders, strict=True):
            yield BundleBatch(batches, self._seed_of)

    def state_dict(self) -> dict[str, Any]:
        """Where each loader is."""
        return {"loaders": [loader.state_dict() for loader in self._loaders]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume each loader where `state` was saved."""
        for loader, of_loader in zip(self._loaders, state["loaders"], strict=True):
            loader.load_state_dict(of_loader)


class BundleData(pl.LightningDataModule):
    """Batches of the networks of a bundle, from images that they share.

    Args:
        members: The data of each network: orders and augmentations of their seeds.
    """

    def __init__(self, members: Sequence[InMemoryData]) -> None:
        super().__init__()
        seeds = list(dict.fromkeys(data.rng.seed for data in members))
        self._of_seeds = [next(d for d in members if d.rng.seed == seed) for seed in seeds]
        self._seed_of = [seeds.index(data.rng.seed) for data in members]
        self._earlier_seconds = 0.0

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return self._of_seeds[0].train_size

    @property
    def seconds(self) -> float:
        """Seconds spent on making training batches."""
        return self._earlier_seconds + sum(data.seconds for data in self._of_seeds)

    @seconds.setter
    def seconds(self, value: float) -> None:
        self._earlier_seconds = value - sum(data.seconds for data in self._of_seeds)

    def setup(self, stage: str) -> None:
        """Move the data set to the Trainer's device."""
        assert self.trainer is not None
        self._of_seeds[0].to(self.trainer.strategy.root_device)

    def train_dataloader(self) -> BundleBatches:
        """One pass over the training images per epoch, for each seed."""
        return BundleBatches([d.train_dataloader() for d in self._of_seeds], self._seed_of)

    def val_dataloader(self) -> EvaluationBatches:
        """The images to evaluate on, the same for all networks."""
        return self._of_seeds[0].val_dataloader()

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return the batch unchanged: it was made on the device."""
        return batch
