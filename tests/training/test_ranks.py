"""Two ranks, each with a part of every batch, end with what one process with all of it ends."""

import importlib
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.core.machine import MachineFault
from pai_bench.experiment.bundle import Bundle
from pai_bench.store import checkpoint_files
from pai_bench.training import fit
from pai_bench.training.checkpoint import OutOfTime

ROOT = Path(__file__).parents[2]
BOTH = Hardware("cpu", "2", "ddp")


@pytest.fixture(scope="module")
def ranks():
    """The module `two_ranks`, which processes of their own can import by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("tests.training.two_ranks")


@pytest.fixture(scope="module")
def outcomes(ranks, tmp_path_factory):
    """What the two ranks have at the end, and the one process."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["pai_bench.launch.preload"])
    paths = [folder / f"{rank}.pt" for rank in (0, 1)]
    started = [
        processes.Process(target=ranks.save, args=(rank, port, path), daemon=True)
        for rank, path in enumerate(paths)
    ]
    for process in started:
        process.start()
    alone = ranks.outcomes()
    for process in started:
        process.join(200)
        assert process.exitcode == 0
    return [*(torch.load(path, weights_only=False) for path in paths), alone]


def assert_same(one, other):
    """The same training, but for the order in which numbers are added."""
    assert one.result.status == other.result.status != "failed", other.result.reason
    assert all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)
    assert one.result.accuracy == other.result.accuracy
    assert one.result.accuracy_after == other.result.accuracy_after
    assert one.result.train_accuracy == other.result.train_accuracy
    assert one.result.layers == other.result.layers
    assert one.result.flops == other.result.flops
    losses = [outcome.curves.get("train_loss", []) for outcome in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert one.curves["test_loss"] == pytest.approx(other.curves["test_loss"], rel=1e-6)


@pytest.mark.slow
def test_ranks_agree_with_each_other_and_with_one_process(outcomes, ranks):
    first, second, alone = outcomes
    for way in ranks.WAYS:
        assert_same(alone[way], first[way])
        assert first[way].curves == second[way].curves, way
        masks = first[way].masks, second[way].masks
        assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0]), way


@pytest.mark.slow
def test_what_is_compared_moves_masks_and_tells_the_parts_of_batch_norm_apart(outcomes):
    alone = outcomes[2]
    moved = [alone[way].masks for way in ("rigl-extra", "rigl-skip", "rigl-after", "snfs")]
    assert alone["collapsed"].result.status == "skipped"
    recorded = outcomes[0]["pieces"].result.environment["training"]
    assert (recorded["devices"], recorded["accumulate"]) == (2, 2)
    digests = {masks.digest() for masks in moved}
    assert len(digests) == len(moved)
    assert alone["parts"].curves["train_loss"] != alone["snip"].curves["train_loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("2", "2"), ("2", "1"), ("1", "2")])
def test_a_training_goes_on_with_any_number_of_devices(first, then, ranks, outcomes, tmp_path):
    cell, settings = ranks.cell(**ranks.WAYS["rigl-extra"]), ranks.settings()
    bundle = Bundle((cell,))
    with pytest.raises(OutOfTime):
        fit.fit(bundle, settings, _hardware(first), runs=tmp_path, deadline=time.time())
    assert checkpoint_files.path(tmp_path, bundle).is_file()
    (resumed,) = fit.fit(bundle, settings, _hardware(then), runs=tmp_path)
    assert resumed.result.environment["resumed"] == 1
    assert resumed.result.environment["training"].get("devices", 1) == int(then)
    assert_same(outcomes[2]["rigl-extra"], resumed)


def _hardware(devices):
    return Hardware("cpu", devices, "ddp" if devices != "1" else "auto")


@pytest.mark.slow
def test_one_device_passes_batches_in_pieces_too(ranks, outcomes):
    assert_same(outcomes[2]["pieces"], ranks.train("pieces", accumulate=4))
    refused = ranks.train("snip", accumulate=2).result.reason
    assert "which 2 pieces do not have: --set batch_norm_parts=2 does" in refused


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_training_whose_command_is_ended_leaves_a_checkpoint(sent, ranks, tmp_path):
    cell = ranks.cell("random", epochs=500, evaluate_at=())
    context = multiprocessing.get_context("forkserver")
    pipe, of_command = context.Pipe()
    command = context.Process(target=ranks.train_and_tell, args=(of_command, cell, tmp_path))
    command.start()
    while pipe.recv() < 1:
        pass
    os.kill(command.pid, sent)
    command.join()
    path, started = checkpoint_files.path(tmp_path, Bundle((cell,))), time.monotonic()
    while not path.is_file():
        assert sent == signal.SIGKILL, "it waits for its processes, where it can"
        assert time.monotonic() - started < 60
        time.sleep(0.1)


FAILING = """
import os, signal
from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.core import distributed
from pai_bench.methods.moving_masks import MovingMasks


class OnOne(SparseClassifier):
    prunes = False

    def batch_loss(self, batch):
        if distributed.rank() == 1 and self.global_step == 2:
            self.happens()
        return super().batch_loss(batch)


@register("raises-on-one")
class Raises(OnOne):
    def happens(self):
        raise ValueError("of device 1 alone")


@register("exits-on-one")
class Exits(OnOne):
    def happens(self):
        os._exit(3)


@register("killed-on-one")
class Killed(OnOne):
    def happens(self):
        os.kill(os.getpid(), signal.SIGKILL)


@register("masks-of-its-own")
class MasksOfItsOwn(MovingMasks):
    def optimizer_step(self, *args, **kwargs):
        super().optimizer_step(*args, **kwargs)
        self.change_masks(Masks({n: w > w.mean() * distributed.rank() for n, w in
                                 prunable(self.network)}))


@register("steps-by-itself")
class StepsByItself(SparseClassifier):
    prunes = False

    def training_step(self, batch, index):
        return self.batch_loss(batch)
"""


@pytest.fixture
def failing(ranks, tmp_path):
    """Train by a method of FAILING on two ranks."""
    path = tmp_path / "failing.py"
    path.write_text(FAILING)

    def run(method, **changes):
        cell = ranks.cell(method, **changes)
        return fit.fit_cell(cell, ranks.settings(), BOTH, plugins=(path,)).result

    return run


@pytest.mark.slow
def test_what_fails_on_one_device_ends_all(failing):
    failed = failing("raises-on-one")
    assert (failed.status, failed.reason) == ("failed", "ValueError: of device 1 alone")
    assert failing("exits-on-one").reason.startswith("the process of device 1 ended with exit code")
    with pytest.raises(MachineFault, match=r"process of device 1 was killed by signal 9"):
        failing("killed-on-one")


def test_masks_that_differ_between_devices_are_an_error(failing):
    reason = failing("masks-of-its-own").reason
    assert "masks-of-its-own: masks differ between the devices that train one network" in reason
    assert "training_step: it trains on one device" in failing("steps-by-itself").reason


def test_what_cannot_be_divided_is_refused_in_one_line(failing):
    with pytest.raises(BenchError, match="a batch of 1 cannot be divided among 2 devices"):
        failing("raises-on-one", batch_size=1)
    with pytest.raises(BenchError, match="batch_norm_parts 3 cannot be spread over 2 devices"):
        failing("raises-on-one", batch_norm_parts=3)
