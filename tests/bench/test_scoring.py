"""The measurement of scoring times what it says it times."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from pai_bench.bench import scoring

SMALL = [replace(case, images=2, later=min(case.later, 1)) for case in scoring.CASES]


def test_every_method_is_set_against_its_own_passes(settings, monkeypatch):
    monkeypatch.setattr(scoring, "CASES", SMALL)
    monkeypatch.setattr(scoring, "TURNS", 1)
    console = Console(file=io.StringIO(), width=180)
    scoring.measure(console, settings)
    rows = [line.split("│")[1:-1] for line in console.file.getvalue().splitlines() if "│" in line]
    assert [row[0].strip() for row in rows] == ["snip", "grasp", "ntk-sap", "synflow"]
    for row in rows:
        steps, passes, overhead = float(row[3]), float(row[5]), float(row[6].split()[0])
        assert overhead == pytest.approx(steps / passes, rel=0.1)
        assert row[7].strip() == ("met" if overhead <= scoring.GOAL else "not met")


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.method)
def test_the_passes_are_those_of_the_theory(case, settings):
    """Counted by the operators: a convolution and its gradient for each pass that is named."""
    network, (images, labels) = scoring._network(case, settings), scoring._batch(case)
    ran = []

    class Listen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            ran.append(func._overloadpacket)
            return func(*args, **(kwargs or {}))

    with Listen():
        case.passes(network, (images, labels))
    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in network.modules())
    forward, backward = {"snip": (1, 1), "ntk-sap": (3, 2), "synflow": (1, 1), "grasp": (2, 2)}[
        case.method
    ]
    aten = torch.ops.aten
    if case.method == "grasp":  # Its last pass is of convolutions too: at least those.
        assert ran.count(aten.convolution) > forward * convolutions
        assert ran.count(aten.convolution_backward) > backward * convolutions
    else:
        assert ran.count(aten.convolution) == forward * convolutions
        assert ran.count(aten.convolution_backward) == backward * convolutions
