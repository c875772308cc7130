"""A search is run once, is the same for all who share it, and is charged to each of them."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
import torch

from pai_bench.core.hardware import Hardware
from pai_bench.core.machine import MachineFault
from pai_bench.store import lease_entry
from pai_bench.store.lease import Leases
from pai_bench.store.search_cache import Search, SearchCache, read
from pai_bench.training import fit

fork = multiprocessing.get_context("fork")
STATE = {"order": torch.arange(4), "epochs": [1, 2], "net": {"w": torch.tensor([0.1])}}

PLUGIN = '''
"""A method that searches, for this test."""

import torch

from pai_bench import SparseClassifier
from pai_bench import register
from pai_bench.store.search_cache import Search
from pai_bench import prunable
from pai_bench.sparsity.select import topk_masks


@register("searching")
class Searching(SparseClassifier):
    """Keeps what a search ranked first."""

    when = "path"

    def sparsify(self, batches):
        found = self.get_or_compute({"effort": 3}, self._search)
        return topk_masks(dict(found["scores"]), self.context.density)

    def _search(self):
        generator = self.context.rng.generator("search")
        torch.ones(400, 400) @ torch.ones(400, 400)
        scores = {n: torch.rand(w.shape, generator=generator) for n, w in prunable(self.network)}
        return Search({"scores": scores}, 1e6)
'''


class Counted:
    """Makes a search, and counts how often."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return Search(STATE, 12.0)


@pytest.fixture
def cell(quick):
    return quick(methods=("random",), densities=(0.1,), seeds=(1,))[0]


def test_a_search_is_run_once_and_read_back_as_it_was(tmp_path, cell):
    make = Counted()
    first, second = (
        SearchCache(tmp_path, cell).get_or_compute({"epochs": 2}, make) for _ in range(2)
    )
    assert make.times == 1
    assert first[0] == second[0]
    for _, found in (first, second):
        assert found.flops == 12.0
        assert found.seconds > 0
        assert torch.equal(found.state["order"], STATE["order"])
        assert torch.equal(found.state["net"]["w"], STATE["net"]["w"])
        assert found.state["epochs"] == [1, 2]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"method": "magnitude"},
        {"method_version": 9},
        {"network": "lenet-5"},
        {"digest": "0"},
        {"precision": "bf16-mixed"},
        {"sanity_check": "random-labels"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_changes_a_search_gives_another(tmp_path, cell, other):
    make = Counted()
    SearchCache(tmp_path, cell).get_or_compute({}, make)
    SearchCache(tmp_path, replace(cell, **other)).get_or_compute({}, make)
    assert make.times == 2


def test_another_recipe_or_other_settings_give_another(tmp_path, cell):
    make = Counted()
    longer = cell.recipe.model_copy(update={"epochs": 99})
    names = {
        SearchCache(tmp_path, cell).get_or_compute({}, make)[0],
        SearchCache(tmp_path, cell).get_or_compute({"nu": 1}, make)[0],
        SearchCache(tmp_path, replace(cell, recipe=longer)).get_or_compute({}, make)[0],
    }
    assert make.times == len(names) == 3


@pytest.mark.parametrize(
    "other",
    [{"density": 0.5}, {"hyper": {"scope": "local"}}, {"sanity_check": "layerwise-shuffle"}],
)
def test_cells_that_differ_after_the_search_share_it(tmp_path, cell, other):
    make = Counted()
    SearchCache(tmp_path, cell).get_or_compute({}, make)
    SearchCache(tmp_path, replace(cell, **other)).get_or_compute({}, make)
    assert make.times == 1


def test_who_wants_a_search_that_is_under_way_waits_for_it(tmp_path, cell):
    begun, go_on, made = Event(), Event(), []

    def slow():
        made.append(1)
        begun.set()
        assert go_on.wait(20)
        return Search(STATE, 1.0)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(SearchCache(tmp_path, cell).get_or_compute, {}, slow)
        assert begun.wait(20)
        second = pool.submit(SearchCache(tmp_path, cell).get_or_compute, {}, slow)
        assert not second.done()
        go_on.set()
        assert first.result(20)[0] == second.result(20)[0]
    assert len(made) == 1


@pytest.mark.skipif(not lease_entry._boot(), reason="the dead are known by Linux's /proc")
def test_who_waits_for_a_search_runs_it_when_who_began_it_is_killed(tmp_path, cell):
    begun = tmp_path / "begun"

    def never_ends():
        begun.touch()
        time.sleep(60)

    cache = SearchCache(tmp_path, cell)
    first = fork.Process(target=cache.get_or_compute, args=({}, never_ends))
    first.start()
    while not begun.exists():
        time.sleep(0.01)
    make = Counted()
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(cache.get_or_compute, {}, make)
        time.sleep(0.2)
        assert make.times == 0
        first.kill()
        assert second.result(20)[1].flops == 12.0
    assert make.times == 1
    first.join()
    assert not (tmp_path / "leases").exists()


def test_a_search_that_was_taken_over_is_not_written(tmp_path, cell):
    """Who began it was suspended: it takes what the other has found."""
    cache, leases, other = SearchCache(tmp_path, cell), Leases(tmp_path), Counted()

    def suspended():
        (name,) = leases.entries()
        leases.acquire(name, leases.current(name)).release()
        cache.get_or_compute({}, other)
        return Search({"order": torch.arange(9)}, 99.0)

    _, found = cache.get_or_compute({}, suspended)
    assert (found.flops, other.times) == (12.0, 1)


def test_a_search_that_was_interrupted_is_not_there(tmp_path, cell):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SearchCache(tmp_path, cell).get_or_compute({}, interrupted)
    make = Counted()
    SearchCache(tmp_path, cell).get_or_compute({}, make)
    assert make.times == 1


def test_a_stored_search_that_cannot_be_read_is_named(tmp_path, cell):
    name, _ = SearchCache(tmp_path, cell).get_or_compute({}, Counted())
    path = tmp_path / "searches" / f"{name}.pt"
    whole = path.read_bytes()
    at = whole.index(STATE["order"].numpy().tobytes())
    flipped = bytes([whole[at] ^ 1])
    for content in (b"", whole[:100], whole[:at] + flipped + whole[at + 1 :]):
        path.write_bytes(content)
        with pytest.raises(MachineFault, match=f"{name}.pt: cannot be read .*; remove it"):
            read(path)


def test_each_cell_is_charged_what_its_search_took_whoever_ran_it(tmp_path, settings, quick):
    plugin = tmp_path / "searching.py"
    plugin.write_text(PLUGIN)
    short = quick(methods=("random",), densities=(0.1,), seeds=(1,))[0]
    short = replace(short, method="searching", recipe=short.recipe.model_copy(update={"epochs": 1}))

    def run(density, runs):
        cell = replace(short, density=density)
        return fit.fit_cell(cell, settings, Hardware("cpu", "1"), (plugin,), runs=runs)

    alone, first, second = run(0.2, None), run(0.1, tmp_path / "r"), run(0.2, tmp_path / "r")
    (stored,) = (tmp_path / "r" / "searches").glob("*.pt")
    took = read(stored).seconds
    for outcome in (first, second):
        assert outcome.result.environment["searches"] == [stored.stem]
        assert outcome.result.flops.scoring == 1e6
        assert outcome.result.seconds["score"] >= took
        assert outcome.result.seconds["total"] >= outcome.result.seconds["score"]
    assert "searches" not in alone.result.environment
    assert alone.curves == second.curves
    assert all(torch.equal(alone.masks[name], second.masks[name]) for name in alone.masks)
