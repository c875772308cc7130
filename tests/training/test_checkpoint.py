"""Trainings that go on where they were interrupted end as if they had never stopped."""

from dataclasses import replace
from types import MappingProxyType

import pytest
import pytorch_lightning as pl
import torch

from pai_bench.baselines.dense import Dense
from pai_bench.core import environment
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.local import Local
from pai_bench.launch.request import RunRequest
from pai_bench.registry import methods as registry
from pai_bench.registry.methods import register
from pai_bench.store import checkpoint_files
from pai_bench.store.store import Store
from pai_bench.training import build, fit
from pai_bench.training.checkpoint import TrainingCheckpoint

STEPS = 23
"""Steps of an epoch of the quick suite."""


@pytest.fixture(autouse=True)
def at_every_step(monkeypatch):
    monkeypatch.setattr(TrainingCheckpoint, "every", 0.0)


class Interrupt(pl.Callback):
    """Does as Ctrl-C after so many steps."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def interrupted(settings, monkeypatch):
    """Run a cell up to a step: interrupted(cell, runs, step)."""

    def run(cell, runs, step, chosen=settings, plugins=()):
        join = TrainingCheckpoint.join

        def with_interrupt(self, trainer):
            found = join(self, trainer)
            trainer.callbacks.append(Interrupt(step))
            return found

        with monkeypatch.context() as patched:
            patched.setattr(TrainingCheckpoint, "join", with_interrupt)
            with pytest.raises(KeyboardInterrupt):
                fit.fit_cell(cell, chosen, plugins=plugins, runs=runs)
        assert checkpoint_files.path(runs, Bundle((cell,))).is_file()

    return run


@register("noisy")
class Noisy(Dense):
    """Draws from the global generator in every step, as dropout does."""

    def batch_loss(self, batch):
        images, labels = batch
        return super().batch_loss((images + 0.1 * torch.randn_like(images), labels))


@pytest.fixture
def cell(quick, monkeypatch):
    load = registry.load
    monkeypatch.setattr(
        registry, "load", lambda name, *rest: Noisy if name == "noisy" else load(name, *rest)
    )

    def make(method, hyper=MappingProxyType({}), epochs=3):
        found = quick(methods=("random",), densities=(0.1,), seeds=(1,), epochs=epochs)[0]
        return replace(found, method=method, density=0.1, hyper=dict(hyper))

    return make


def assert_same(one, other):
    assert one.curves == other.curves
    assert one.masks.keys() == other.masks.keys()
    assert all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)
    for name in ("status", "accuracy", "density", "effective", "layers", "flops", "hyper"):
        assert getattr(one.result, name) == getattr(other.result, name), name
    known = [set(outcome.result.environment) - {"resumed"} for outcome in (one, other)]
    assert known[0] == known[1]


METHODS = [
    ("snip", {}),
    ("imp", {"rounds": 2}),
    ("rigl", {"delta_t": 7}),
    ("snfs", {"delta_t": 7}),
    ("gradual", {"frequency": 7, "pruned": "remembered"}),
    ("dessilbi", {"search_epochs": 1}),
    ("noisy", {}),
]


STOPS = [(name, hyper, STEPS) for name, hyper in METHODS]
STOPS += [(*METHODS[-1], step) for step in (5, STEPS + 12)]


@pytest.mark.parametrize(
    ("method", "hyper", "step"), STOPS, ids=[f"{name}-{step}" for name, _, step in STOPS]
)
def test_a_training_goes_on_as_if_never_stopped(
    method, hyper, step, cell, interrupted, settings, tmp_path
):
    """At the end of an epoch; in its midst each method is asked by the conformance suite."""
    asked = cell(method, hyper, epochs=2)
    whole = fit.fit_cell(asked, settings, runs=tmp_path / "whole")
    assert whole.result.status == "done", whole.result.reason
    assert "resumed" not in whole.result.environment
    interrupted(asked, tmp_path, step)
    rest = fit.fit_cell(asked, settings, runs=tmp_path)
    assert rest.result.environment["resumed"] == 1
    assert_same(rest, whole)


def test_training_on_photographs_resumes(photographs, quick, interrupted, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "loader_workers", lambda _ranks: 1)
    cell = replace(quick(methods=("dense",), seeds=(1,))[0], network="resnet-20", data="photos")
    cell = replace(cell, recipe=cell.recipe.model_copy(update={"batch_size": 2}))
    whole = fit.fit_cell(cell, photographs)
    interrupted(cell, tmp_path, 4, photographs)
    rest = fit.fit_cell(cell, photographs, runs=tmp_path)
    assert rest.result.environment["resumed"] == 1
    assert_same(rest, whole)


def test_what_earlier_runs_took_is_counted(cell, interrupted, settings, tmp_path):
    asked = cell("ntk-sap")
    interrupted(asked, tmp_path, STEPS + 5)
    known = torch.load(checkpoint_files.path(tmp_path, Bundle((asked,))), weights_only=True)
    known["callbacks"]["TrainingCheckpoint"] |= {"seconds": 1000.0, "data_seconds": 200.0}
    taken = {"score": 300.0, "train": 600.0, "eval": 50.0}
    known["callbacks"]["PhaseTimer"]["seconds"] = taken
    torch.save(known, checkpoint_files.path(tmp_path, Bundle((asked,))))
    seconds = fit.fit_cell(asked, settings, runs=tmp_path).result.seconds
    assert 1000 < seconds["total"] < 1100
    assert seconds["score"] == 300
    assert 400 < seconds["train"] < 500
    assert 50 < seconds["eval"] < 100
    assert 200 < seconds["data"] < 300


def test_it_goes_on_more_than_once(cell, interrupted, settings, tmp_path):
    asked = cell("noisy")
    for step in (5, 12, STEPS + 3, 2 * STEPS + 1):
        interrupted(asked, tmp_path, step)
    rest = fit.fit_cell(asked, settings, runs=tmp_path)
    assert rest.result.environment["resumed"] == 4
    assert_same(rest, fit.fit_cell(asked, settings))


def test_a_checkpoint_of_other_software_is_not_resumed(
    cell, interrupted, settings, tmp_path, monkeypatch
):
    asked = cell("snip", epochs=2)
    interrupted(asked, tmp_path, 9)
    monkeypatch.setattr(environment, "commit", lambda: "another")
    found = fit.fit_cell(asked, settings, runs=tmp_path)
    assert "resumed" not in found.result.environment
    assert_same(found, fit.fit_cell(asked, settings))


PLUGIN = """
from pai_bench.baselines.dense import Dense
from pai_bench import register

@register("mine")
class Mine(Dense):
    pass
"""


@pytest.mark.parametrize("edited", [False, True])
def test_a_plugin_that_was_edited_is_other_software(edited, cell, interrupted, settings, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN)
    asked, runs = cell("mine", epochs=2), tmp_path / "runs"
    interrupted(asked, runs, 9, plugins=(plugin,))
    plugin.write_text(f"{PLUGIN}    factor = 2\n" if edited else PLUGIN)
    found = fit.fit_cell(asked, settings, plugins=(plugin,), runs=runs)
    assert found.result.status == "done"
    assert ("resumed" in found.result.environment) is not edited


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "truncated", "flipped"])
def test_a_damaged_checkpoint_is_not_resumed(content, cell, interrupted, settings, tmp_path):
    asked = cell("snip", epochs=2)
    interrupted(asked, tmp_path, 9)
    path = checkpoint_files.path(tmp_path, Bundle((asked,)))
    whole = path.read_bytes()
    at = len(whole) // 2
    flipped = whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :]
    damaged = {"truncated": whole[:-999], "flipped": flipped}
    path.write_bytes(damaged.get(content, content))
    found = fit.fit_cell(asked, settings, runs=tmp_path)
    assert found.result.status == "done"
    assert "resumed" not in found.result.environment


@pytest.mark.parametrize("error", [OSError("no space left"), RuntimeError("file write failed")])
def test_a_full_disk_ends_no_training(error, cell, settings, tmp_path, monkeypatch):
    def fails(_trainer, path, *_args, **_kwargs):
        path.write_bytes(b"a part")
        raise error

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", fails)
    found = fit.fit_cell(cell("snip", epochs=2), settings, runs=tmp_path)
    assert found.result.status == "done"
    assert not any((tmp_path / checkpoint_files.FOLDER).iterdir())


def test_nothing_is_written_before_its_time(cell, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingCheckpoint, "every", 1e6)
    fit.fit_cell(cell("snip", epochs=2), settings, runs=tmp_path)
    assert not (tmp_path / checkpoint_files.FOLDER).exists()


def test_what_is_kept_goes_with_the_result_and_what_was_half_written_too(cell, tmp_path):
    one, other = cell("snip"), cell("random")
    for asked in (one, other):
        path = checkpoint_files.path(tmp_path, Bundle((asked,)))
        path.parent.mkdir(exist_ok=True)
        path.touch()
        path.with_suffix(".123").touch()
    checkpoint_files.discard(tmp_path, Bundle((one,)))
    assert {p.stem for p in (tmp_path / checkpoint_files.FOLDER).iterdir()} == {other.id}
    checkpoint_files.discard(tmp_path, Bundle((other,)))
    assert not any(tmp_path.iterdir())
    checkpoint_files.discard(tmp_path, Bundle((other,)))


@pytest.mark.slow
def test_a_worker_resumes_and_then_discards_the_checkpoint(cell, interrupted, settings, tmp_path):
    asked = cell("rigl", {"delta_t": 7})
    interrupted(asked, tmp_path, STEPS + 5)
    request = RunRequest("quick", (Bundle((asked,)),), settings, tmp_path, Hardware("cpu", "1"))
    *_, finished = Local().launch(request, 1)
    assert finished.status == "done"
    entry = Store(tmp_path, "quick").get(asked.id)
    assert entry.result.environment["resumed"] == 1
    assert entry.curves() == fit.fit_cell(asked, settings).curves
    assert not (tmp_path / checkpoint_files.FOLDER).exists()
