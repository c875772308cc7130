"""What is measured of memory: a line through two batches, in processes of their own."""

import pytest
import torch
from torch import nn

from pai_bench import networks
from pai_bench.bench import memory


class Pipe:
    """Takes what is sent."""

    def send(self, value):
        self.sent = value


def test_a_batch_is_extrapolated_from_two():
    assert memory._row((1.4, 1.8), 256)[:3] == ["1.40", "1.80", "0.05"]
    assert memory._row((1.4, 1.8), 256)[3:] == ["13.80", "460"]
    assert memory._row((1.4, 1.4), 256)[4] == "any"


@pytest.mark.parametrize("case", memory.CASES, ids=lambda case: case.method)
def test_every_case_can_be_scored(case, settings, monkeypatch):
    def small(_network, _shape, classes):
        return nn.Sequential(
            nn.Conv2d(3, 2, 7, 16), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(2, classes),
        )  # fmt: skip

    monkeypatch.setattr(networks, "build", small)
    monkeypatch.setattr(memory.recompute, "LARGE", memory.recompute.LARGE)
    pipe = Pipe()
    memory._score(pipe, case, settings, 8, "cpu")
    assert pipe.sent > 0.1
    assert torch.get_num_threads() == settings.threads
