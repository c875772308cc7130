"""Trains on this process's part of each batch, and writes down what comes out.

test_ranks.py starts a process per rank, and trains with all data in its own.
"""

import os

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from pai_bench.config.schema import Recipe
from pai_bench.core.rng import RandomStreams
from pai_bench.registry import methods as registry
from pai_bench.training import fit
from pai_bench.training.context import MethodContext

BATCH, STEPS = 16, 30
RECIPE = Recipe(
    epochs=1, batch_size=BATCH, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
)  # fmt: skip
WAYS = (
    ("rigl", "extra"), ("rigl", "skip"), ("rigl", "after"), ("set", "after"), ("snfs", "after"),
)  # fmt: skip


class Parts(pl.LightningDataModule):
    """Batches of noise, divided among `ranks`."""

    train_size = BATCH * STEPS

    def __init__(self, rank, ranks):
        super().__init__()
        self.own = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)

    def batch(self, seed):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(BATCH, 1, 4, 4, generator=generator)
        labels = (images.flatten(1)[:, :3].argmax(1)) + torch.randint(
            2, (BATCH,), generator=generator
        )
        return images[self.own], labels[self.own]

    def extra_batch(self, number):
        return self.batch(1000 + number)

    def train_dataloader(self):
        return DataLoader([self.batch(seed) for seed in range(STEPS)], batch_size=None)

    def score_batches(self, _blank):
        return []


def train(method, update, rank, ranks):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4))
    context = MethodContext(0.3, RECIPE, 4, RandomStreams(1))
    module = registry.load(method)(network, context, delta_t=5, end=1.0, update=update)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto",
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    start = module.sparsify([])
    trainer.fit(module, datamodule=Parts(rank, ranks))
    moved = any(not torch.equal(start[name], module.masks[name]) for name in start)
    return {"masks": dict(module.masks), "state": module.network.state_dict(), "moved": moved}


def outcomes(rank, ranks):
    """What each way ends with in one of `ranks` processes."""
    fit.quiet()
    torch.set_num_threads(1)
    return {way: train(*way, rank, ranks) for way in WAYS}


def save(rank, ranks, port, path):
    """The same in a process of a gloo group on this machine, into a file."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks),
        "RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0",
    }  # fmt: skip
    torch.save(outcomes(rank, ranks), path)
