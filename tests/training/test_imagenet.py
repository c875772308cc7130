"""The ImageNet suites end to end, on the few photographs at hand: in one process, and in two."""

from dataclasses import replace

import pytest
import torch

from pai_bench.core.hardware import Hardware
from pai_bench.experiment import grid
from pai_bench.training import fit

CASES = (
    ("rigl-imagenet", "rigl", {"delta_t": 2, "end": 1.0}),
    ("ntk-sap-imagenet-resnet-50", "snip", {}),
)


@pytest.fixture
def few(mirror, settings):
    """Settings with the photographs of the mirror, at 16 pixels."""
    if not (mirror / "imagenet-1k").is_dir():
        pytest.skip("the mirror holds no photographs of ImageNet")
    data = settings.data["imagenet-1k"]
    small = data.model_copy(update={"images": (160, 48), "shape": (3, 16, 16)})
    return settings.model_copy(update={"data": {**settings.data, "imagenet-1k": small}})


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "method", "hyper"), CASES)
def test_two_devices_train_on_photographs_as_one_does(suite, method, hyper, few, methods):
    cell = grid.cells(few, methods, suite, grid.Selection(methods=(method,)))[-1]
    short = {
        "epochs": 1, "steps": None, "batch_size": 60, "warmup": 0.0, "milestones": (1,),
        "lr": 0.01,
    }  # fmt: skip
    cell = replace(
        cell, network="resnet-20", recipe=cell.recipe.model_copy(update=short), hyper=hyper,
        precision="64-true", density=0.2,
    )  # fmt: skip
    one, two = (
        fit.fit_cell(cell, few, Hardware("cpu", devices, strategy))
        for devices, strategy in (("1", "auto"), ("2", "ddp"))
    )
    assert one.result.status == two.result.status == "done", two.result.reason
    assert all(torch.equal(one.masks[name], two.masks[name]) for name in one.masks)
    assert one.result.accuracy == two.result.accuracy
    assert one.result.flops == two.result.flops
    assert one.curves["train_loss"] == pytest.approx(two.curves["train_loss"], rel=1e-9)
    assert one.curves["test_loss"] == pytest.approx(two.curves["test_loss"], rel=1e-5)
    assert two.result.environment["data"]["images"] == [160, 48]
