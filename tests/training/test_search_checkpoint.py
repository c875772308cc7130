"""A search that is interrupted goes on where it was, and finds the same bits."""

import multiprocessing
import time
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch

from pai_bench.core import environment, processes
from pai_bench.core.hardware import Hardware
from pai_bench.store import search_cache
from pai_bench.training import fit
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.search_checkpoint import SearchCheckpoint

CPU = Hardware("cpu", "1")


@pytest.fixture(autouse=True)
def at_every_step(monkeypatch):
    monkeypatch.setattr(SearchCheckpoint, "every", 0.0)


@pytest.fixture
def cell(quick):
    def make(method, hyper=MappingProxyType({}), **changes):
        found = quick(methods=("random",), densities=(0.1,), seeds=(1,), epochs=2)[0]
        return replace(found, method=method, hyper=dict(hyper), **changes)

    return make


@pytest.fixture
def interrupted(settings, monkeypatch):
    """Run a cell up to a number of updates of its search: interrupted(cell, runs, updates)."""

    def run(cell, runs, updates):
        update, count = SearchCheckpoint.update, 0

        def counted(self):
            nonlocal count
            update(self)
            count += 1
            if count == updates:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(SearchCheckpoint, "update", counted)
            with pytest.raises(KeyboardInterrupt):
                fit.fit_cell(cell, settings, CPU, runs=runs)
        (checkpoint,) = (runs / "searches").glob("*.ckpt")
        return checkpoint

    return run


def assert_same(one, other):
    assert one.result.status == "done", one.result.reason
    assert one.curves == other.curves
    assert one.masks.keys() == other.masks.keys()
    assert all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)
    for name in ("accuracy", "density", "effective", "layers", "flops"):
        assert getattr(one.result, name) == getattr(other.result, name), name


def assert_same_searches(runs, others):
    found, expected = (sorted((folder / "searches").glob("*.pt")) for folder in (runs, others))
    assert [path.name for path in found] == [path.name for path in expected]
    assert found
    assert all(map(search_cache.is_same, found, expected))


STOPS = [
    ("ntt", {"steps": 30, "update_every": 5}, 12),
    ("ntt", {"steps": 60, "update_every": 5, "batch_size": 48}, 34),  # of another size, pass 2
    ("imp", {"rounds": 2}, 9),
    ("imp", {"rounds": 2}, 46),  # after the first round
    ("imp", {"rounds": 2, "rewind": 3}, 60),
    ("dessilbi", {"search_epochs": 2}, 31),
    ("dessilbi", {"search_epochs": 3, "search_decay_every": 1}, 23),  # after an epoch
    ("slimming", {}, 31),
    ("proximal", {}, 11),
    ("rigl-restart", {"delta_t": 4}, 31),
]


@pytest.mark.parametrize(
    ("method", "hyper", "updates"), STOPS, ids=[f"{name}-{updates}" for name, _, updates in STOPS]
)
def test_a_search_goes_on_as_if_never_stopped(
    method, hyper, updates, cell, interrupted, settings, tmp_path
):
    asked = cell(method, hyper)
    whole = fit.fit_cell(asked, settings, CPU, runs=tmp_path / "whole")
    checkpoint = interrupted(asked, tmp_path / "rest", updates)
    rest = fit.fit_cell(asked, settings, CPU, runs=tmp_path / "rest")
    assert_same(rest, whole)
    assert not checkpoint.is_file()
    assert_same_searches(tmp_path / "rest", tmp_path / "whole")


@pytest.mark.parametrize("check", ["random-labels", "random-pixels", "invert"])
def test_a_search_of_corrupted_images_goes_on(check, cell, interrupted, settings, tmp_path):
    asked = cell("imp", {"rounds": 2}, sanity_check=check)
    whole = fit.fit_cell(asked, settings, CPU)
    interrupted(asked, tmp_path, 9)
    assert_same(fit.fit_cell(asked, settings, CPU, runs=tmp_path), whole)


def test_a_search_goes_on_more_than_once(cell, interrupted, settings, tmp_path):
    asked = cell("imp", {"rounds": 2})
    whole = fit.fit_cell(asked, settings, CPU)
    for updates in (9, 20, 30):
        interrupted(asked, tmp_path, updates)
    assert_same(fit.fit_cell(asked, settings, CPU, runs=tmp_path), whole)


def test_crops_and_flips_go_on_too(quick, settings, interrupted, tmp_path):
    found = quick(methods=("random",), densities=(0.1,), seeds=(1,), epochs=2)[0]
    recipe = found.recipe.model_copy(update={"augment": "crop-flip"})
    asked = replace(found, method="imp", hyper={"rounds": 2}, recipe=recipe)
    whole = fit.fit_cell(asked, settings, CPU)
    interrupted(asked, tmp_path, 9)
    assert_same(fit.fit_cell(asked, settings, CPU, runs=tmp_path), whole)


def test_a_training_that_is_cut_within_a_pass_goes_on_with_the_next(
    cell, interrupted, settings, tmp_path
):
    """30 steps are a pass of 23 and a part of another, at whose end is a 31st update."""
    recipe = cell("imp").recipe.model_copy(update={"steps": 30})
    asked = cell("imp", {"rounds": 3}, recipe=recipe)
    whole = fit.fit_cell(asked, settings, CPU, runs=tmp_path / "whole")
    interrupted(asked, tmp_path / "rest", 31)
    interrupted(asked, tmp_path / "rest", 31)
    assert_same(fit.fit_cell(asked, settings, CPU, runs=tmp_path / "rest"), whole)
    assert_same_searches(tmp_path / "rest", tmp_path / "whole")


def test_what_was_found_in_earlier_runs_is_not_searched_again(
    cell, interrupted, settings, tmp_path, monkeypatch
):
    asked, steps = cell("dessilbi", {"search_epochs": 2}), []
    interrupted(asked, tmp_path, 31)
    update = SearchCheckpoint.update
    monkeypatch.setattr(SearchCheckpoint, "update", lambda self: steps.append(1) or update(self))
    fit.fit_cell(asked, settings, CPU, runs=tmp_path)
    assert len(steps) == 46 - 31


def test_seconds_of_earlier_runs_are_charged(cell, interrupted, settings, tmp_path):
    checkpoint = interrupted(cell("ntt", {"steps": 30}), tmp_path, 12)
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "seconds": 1000.0}, checkpoint)
    result = fit.fit_cell(cell("ntt", {"steps": 30}), settings, CPU, runs=tmp_path).result
    (found,) = (tmp_path / "searches").glob("*.pt")
    assert 1000 < search_cache.read(found).seconds < 1100
    assert 1000 < result.seconds["score"] < 1100


def test_who_else_needs_the_search_goes_on_with_it(cell, interrupted, settings, tmp_path):
    """Cells of other densities share DessiLBI's search."""
    one, other = (cell("dessilbi", {"search_epochs": 2}, density=d) for d in (0.1, 0.2))
    whole = fit.fit_cell(other, settings, CPU)
    checkpoint = interrupted(one, tmp_path, 31)
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "seconds": 1000.0}, checkpoint)
    rest = fit.fit_cell(other, settings, CPU, runs=tmp_path)
    assert_same(rest, whole)
    assert rest.result.seconds["score"] > 1000


def test_it_stops_when_asked_and_keeps_what_it_has(cell, settings, tmp_path, monkeypatch):
    asked = cell("imp", {"rounds": 2})
    whole = fit.fit_cell(asked, settings, CPU)
    monkeypatch.setattr(SearchCheckpoint, "every", 1e9)
    monkeypatch.setattr(processes, "is_asked_to_end", lambda: True)
    with pytest.raises(OutOfTime):
        fit.fit_cell(asked, settings, CPU, runs=tmp_path)
    assert len(list((tmp_path / "searches").glob("*.ckpt"))) == 1
    monkeypatch.undo()
    assert_same(fit.fit_cell(asked, settings, CPU, runs=tmp_path), whole)


def test_it_stops_at_the_deadline(cell, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(SearchCheckpoint, "every", 1e9)
    bundle = fit.Bundle((cell("ntt", {"steps": 100000}),))
    began = time.monotonic()
    with pytest.raises(OutOfTime):
        fit.fit(bundle, settings, CPU, runs=tmp_path, deadline=time.time() + 2)
    assert time.monotonic() - began < 30
    assert len(list((tmp_path / "searches").glob("*.ckpt"))) == 1


def test_a_checkpoint_of_other_software_is_not_resumed(
    cell, interrupted, settings, tmp_path, monkeypatch
):
    asked = cell("ntt", {"steps": 30})
    checkpoint = interrupted(asked, tmp_path, 12)
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "seconds": 1000.0}, checkpoint)
    describe = environment.describe
    monkeypatch.setattr(environment, "describe", lambda *a: {**describe(*a), "torch": "0.1"})
    assert fit.fit_cell(asked, settings, CPU, runs=tmp_path).result.seconds["score"] < 1000


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", "half", "flipped"])
def test_a_damaged_checkpoint_is_not_resumed(content, cell, interrupted, settings, tmp_path):
    asked = cell("ntt", {"steps": 30})
    checkpoint = interrupted(asked, tmp_path, 12)
    whole = checkpoint.read_bytes()
    at = len(whole) // 2
    flipped = whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :]
    checkpoint.write_bytes({"half": whole[:at], "flipped": flipped}.get(content, content))
    assert_same(
        fit.fit_cell(asked, settings, CPU, runs=tmp_path), fit.fit_cell(asked, settings, CPU)
    )


def test_a_full_disk_ends_no_search(cell, settings, tmp_path, monkeypatch):
    save = torch.save

    def full(content, place, *rest):
        if "parts" in content:
            raise OSError(28, "No space left on device")
        save(content, place, *rest)

    monkeypatch.setattr(torch, "save", full)
    outcome = fit.fit_cell(cell("ntt", {"steps": 5}), settings, CPU, runs=tmp_path)
    assert outcome.result.status == "done"


def test_nothing_is_written_before_its_time(cell, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(SearchCheckpoint, "every", 120.0)
    written = []
    monkeypatch.setattr(SearchCheckpoint, "write", written.append)
    fit.fit_cell(cell("ntt", {"steps": 5}), settings, CPU, runs=tmp_path)
    assert not written


def _search(cell, settings, runs, begun):
    update = SearchCheckpoint.update

    def noted(self):
        update(self)
        begun.set()

    SearchCheckpoint.update = noted
    fit.fit_cell(cell, settings, CPU, runs=runs)


def test_a_killed_search_goes_on(cell, settings, tmp_path):
    fork = multiprocessing.get_context("fork")
    asked = cell("ntt", {"steps": 100})
    begun = fork.Event()
    process = fork.Process(target=_search, args=(asked, settings, tmp_path, begun))
    process.start()
    assert begun.wait(60)
    process.kill()
    process.join()
    quicker = settings.model_copy(update={"take_over": 1.0})
    rest = fit.fit_cell(asked, quicker, CPU, runs=tmp_path)
    assert_same(rest, fit.fit_cell(asked, settings, CPU))
