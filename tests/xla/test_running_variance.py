"""Running variances on an XLA device are PyTorch's."""

import copy
import importlib
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from pai_bench.networks.running_variance import track_unbiased

pytestmark = [
    pytest.mark.xla,
    pytest.mark.skipif(not find_spec("torch_xla"), reason="needs torch_xla: run `make test-xla`"),
]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_variances_are_unbiased(momentum, monkeypatch):
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    importlib.import_module("torch_xla").device()
    eager = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum), nn.Flatten(), nn.BatchNorm1d(12))
    ours = copy.deepcopy(eager).to("xla")
    track_unbiased(ours)
    track_unbiased(ours)
    for seed in (0, 1, 2):
        images = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
        eager(images)
        ours(images.to("xla")).square().sum().backward()
    for name, tensor in eager.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name].cpu(), tensor)
