"""What several tests share."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pai_bench import config, grid
from pai_bench.methods import registry

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def surroundings(tmp_path_factory, monkeypatch):
    """Decoded data in a cache of the test run, W&B off the network, no settings of the user's."""
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture(scope="session")
def methods():
    """Every method of the shipped project."""
    return registry.available()


@pytest.fixture(scope="session")
def settings(methods):
    """The shipped benchmark.yaml."""
    return config.load(ROOT / "benchmark.yaml", methods)


@pytest.fixture(scope="session")
def quick(settings, methods):
    """Cells of the quick suite, cut to a few epochs: quick(methods=("snip",), epochs=2)."""

    def make(epochs=2, **selection):
        cells = grid.cells(settings, methods, "quick", grid.Selection(**selection))
        recipe = cells[0].recipe.model_copy(update={"epochs": epochs, "milestones": (1,)})
        return [replace(cell, recipe=recipe) for cell in cells]

    return make


@pytest.fixture(scope="session")
def mirror():
    """Folder of a mirror with real MNIST, or a skip."""
    folder = os.environ.get("PAI_BENCH_MIRROR")
    if not folder:
        pytest.skip("PAI_BENCH_MIRROR is not set: no real MNIST here")
    return Path(folder)
