"""Small trainings in float64, as one process and as two ranks do them.

test_ranks.py starts two processes that run `save`, and calls `outcomes` in its own.
"""

import signal
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from pai_bench.config import loader
from pai_bench.config.schema import Network
from pai_bench.core import portable
from pai_bench.core.hardware import Hardware
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import Bundle
from pai_bench.registry import methods as registry
from pai_bench.training import fit
from pai_bench.training.alone import fit_alone
from pai_bench.training.progress import ignore
from pai_bench.training.rank import Rank
from pai_bench.training.setup import TrainingSetup

ROOT = Path(__file__).parents[2]
SHORT = {
    "holdout": 0.9, "batch_size": 47, "epochs": 2, "milestones": (1,), "score_batch_size": 30,
    "evaluate_at": (2,), "lr": 0.05,
}  # fmt: skip
"""144 images in batches of 47, the last of 3: no two ranks have equal parts."""
MOVING = {"delta_t": 2, "end": 1.0}
WAYS = {
    "snip": {"method": "snip", "evaluate_train": 0.3},
    "grasp": {"method": "grasp"},
    "ntk-sap": {"method": "ntk-sap", "hyper": {"rounds": 2, "repeats": 2}},
    "ntt": {"method": "ntt", "hyper": {"steps": 3, "batch_size": 8}, "epochs": 1},
    "rigl-extra": {"method": "rigl", "hyper": MOVING},
    "rigl-skip": {"method": "rigl", "hyper": {**MOVING, "update": "skip"}},
    "rigl-after": {"method": "rigl", "hyper": {**MOVING, "update": "after"}},
    "snfs": {"method": "snfs", "hyper": MOVING},
    "gradual": {"method": "gradual", "hyper": {"frequency": 2, "pruned": "remembered"}, "steps": 7},
    "dessilbi": {"method": "dessilbi", "hyper": {"search_epochs": 1}},
    "imp": {"method": "imp", "hyper": {"rounds": 2}, "epochs": 1},
    "parts": {"method": "snip", "batch_norm_parts": 2, "batch_size": 45},
    "pieces": {"method": "rigl", "hyper": MOVING, "batch_norm_parts": 4, "batch_size": 48},
    "collapsed": {"method": "random", "density": 0.001, "collapsed": "skip"},
    "one left": {"method": "random", "network": "lenet-300-100", "batch_size": 13, "epochs": 1},
    "augmented": {"method": "random", "augment": "crop-flip", "epochs": 1},
    "resized": {"method": "random", "augment": "resized-crop-flip", "epochs": 1},
}
"""A method, and what is not as in the other cells."""


def normalised(shape, classes):
    """A convolutional network with batch norm."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, classes),
    )  # fmt: skip


def settings():
    shipped = loader.load(ROOT / "benchmark.yaml", registry.available())
    network = Network(build="tests.training.two_ranks:normalised")
    return shipped.model_copy(update={"networks": {**shipped.networks, "normalised": network}})


def cell(method, hyper=MappingProxyType({}), network="normalised", density=0.3, **changes):
    """A cell on a tenth of digits."""
    selection = grid.Selection(methods=("snip",), densities=(0.1,), seeds=(1,))
    (found,) = grid.cells(settings(), registry.available(), "quick", selection)
    recipe = found.recipe.model_copy(update={**SHORT, **changes})
    return replace(
        found, method=method, hyper=dict(hyper), recipe=recipe, network=network, density=density,
        precision="64-true",
    )  # fmt: skip


def train(way, rank=None, accumulate=1):
    hardware = Hardware("cpu", "2", "ddp") if rank else Hardware("cpu", "1")
    hardware = replace(hardware, accumulate=accumulate)
    setup = TrainingSetup(settings(), hardware, (), ignore, None, rank=rank)
    return fit_alone(Bundle((cell(**WAYS[way]),)), setup)


def outcomes(rank=None):
    """What each way ends with in this process; each of two ranks passes two pieces in one way."""
    portable.use()
    fit.quiet()
    return {way: train(way, rank, 2 if rank and way == "pieces" else 1) for way in WAYS}


def save(number, port, path):
    """The same in one of two ranks, into a file."""
    torch.save(outcomes(Rank(number, 2, port)), path)


def train_and_tell(pipe, cell, runs):
    """Train on two ranks, and send the number of each epoch that is over.

    As a command does: where tests run in the background of a shell, interrupts are ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def report(progress):
        pipe.send(progress.epoch)

    fit.fit_cell(cell, settings(), Hardware("cpu", "2", "ddp"), (), report, runs)
