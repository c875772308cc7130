"""Steps of a stack as a graph, on a CPU: operations are recorded, and done again."""

import time
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pai_bench.experiment.bundle import Bundle
from pai_bench.training import fit
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.together import module
from pai_bench.training.together.data import BundleBatch
from pai_bench.training.together.graph import GraphedStep


class Recorded(TorchDispatchMode):
    """What a step does to tensors. As in a CUDA graph, numbers are those of the recording."""

    def __init__(self):
        super().__init__()
        self.operations, self.overwritten = [], {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation is not torch.ops.aten._local_scalar_dense.default, "reads a number"
        for argument, value in zip(operation._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_leaves(value):
                    self.overwritten.setdefault(id(tensor), (tensor, tensor.clone()))
        result = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def undo(self):
        """A capture does nothing."""
        for tensor, before in self.overwritten.values():
            tensor.copy_(before)

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, result in self.operations:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Recorder:
    """A device that records steps."""

    def __init__(self):
        self.done = []

    def warm_up(self, step):
        self.done.append("warm-up")
        return step()

    def capture(self, step):
        recorded = Recorded()
        with recorded:
            result = step()
        recorded.undo()

        def replay():
            self.done.append("replay")
            recorded.replay()

        return replay, result


@pytest.fixture
def recorder(monkeypatch):
    found = Recorder()
    monkeypatch.setattr(module, "graph_device", lambda _device: found)
    return found


@pytest.fixture
def asked(settings):
    return settings.model_copy(update={"graphs": True})


@pytest.fixture
def bundle(quick):
    """Networks of two seeds, whose rate changes in each step; the last batch of a pass is short."""

    def make(method="random", **recipe):
        cells = quick(methods=("snip", "random"), densities=(0.1,), seeds=(1, 2), epochs=2)
        by_step = {"schedule_unit": "step", "milestones": (10,), "warmup": 0.5, **recipe}
        changed = cells[0].recipe.model_copy(update=by_step)
        one, two, three, four = (replace(cell, recipe=changed) for cell in cells[:4])
        return Bundle((one, two, three, replace(four, method=method)))

    return make


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.result.status == "done", one.result.traceback
        assert one.curves == other.curves
        assert one.result.flops == other.result.flops
        assert all(torch.equal(mask, other.masks[name]) for name, mask in one.masks.items())


def test_a_graph_takes_the_steps_of_its_stack(bundle, settings, asked, recorder):
    ours, theirs = (fit.fit(bundle(), each, stacked=True) for each in (asked, settings))
    assert_same(ours, theirs)
    for one, other in zip(ours, theirs, strict=True):
        trained = other.result.environment["training"]
        assert one.result.environment["training"] == {**trained, "graph": True}
    assert recorder.done == ["warm-up"] * 3 + ["replay"] * (2 * 22 - 3)


def test_a_graph_is_resumed(bundle, asked, recorder, tmp_path):
    whole = fit.fit(bundle(), asked, stacked=True)
    for _ in range(2):
        with pytest.raises(OutOfTime):
            fit.fit(bundle(), asked, runs=tmp_path, stacked=True, deadline=time.time() - 1)
    assert_same(fit.fit(bundle(), asked, runs=tmp_path, stacked=True), whole)


@pytest.mark.parametrize(
    ("method", "recipe"),
    [("random", {"optimizer": "adam", "momentum": 0.0}), ("rigl", {}),
     ("random", {"clip": "norm", "clip_at": 1.0})],
)  # fmt: skip
def test_what_no_graph_can_follow_is_trained_without(method, recipe, bundle, asked, recorder):
    for outcome in fit.fit(bundle(method, **recipe), asked, stacked=True):
        assert outcome.result.status == "done", outcome.result.traceback
        assert "graph" not in outcome.result.environment["training"]
    assert not recorder.done


def test_batches_of_the_largest_size_are_those_of_the_graph():
    weight, device = torch.nn.Parameter(torch.zeros(1)), Recorder()

    def step(batch):
        return batch.images().sum((1, 2, 3))[:1] + weight.detach()

    graphed = GraphedStep(step, torch.optim.SGD([weight], 0.1), device)
    sizes = [1, 4, 4, 1, 4, 4, 1]
    for number, size in enumerate(sizes):
        images = torch.full((size, 1, 1, 1), float(number))
        assert float(graphed(BundleBatch([(images, torch.zeros(size))], [0]))) == number
    assert device.done == ["warm-up"] * 3 + ["replay"] * 2


def test_there_are_no_graphs_where_none_are_asked_for(bundle, settings, recorder):
    fit.fit(bundle(), settings, stacked=True)
    assert not recorder.done
