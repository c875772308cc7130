"""What several tests share."""

import os

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def quiet_home(tmp_path_factory, monkeypatch):
    """Keep decoded data in a cache of the test run, and W&B off the network."""
    if "PAI_BENCH_CACHE" not in os.environ:
        monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
