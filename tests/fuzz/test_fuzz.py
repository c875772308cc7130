"""Malformed input of every kind is right or refused in one line; nothing else may be raised.

`make fuzz N=5000 SEED=7` tries other and more inputs; a failure names the seed of its input.
"""

import os
import shutil

import pytest

from pai_bench.cli.main import main
from pai_bench.config import loader
from pai_bench.config.overrides import with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.registry import methods as registry
from pai_bench.registry.plugins import extend
from pai_bench.store import index
from pai_bench.store.result import Accuracy, Flops, Layer, Result
from pai_bench.store.store import Store

from . import inputs

NUMBER = int(os.environ.get("PAI_BENCH_FUZZ_INPUTS", "100"))
FIRST = NUMBER * int(os.environ.get("PAI_BENCH_FUZZ_SEED", "0"))
SEEDS = range(FIRST, FIRST + NUMBER)


def failures(attempt, seeds=SEEDS):
    """What was raised and is no BenchError, by the seed of its input."""
    found = {}
    for seed in seeds:
        try:
            attempt(seed)
        except BenchError as error:
            if "\n" in str(error):
                found[seed] = f"more than one line: {error!r}"[:300]
        except SystemExit as ended:
            if ended.code:
                found[seed] = repr(ended)
        except BaseException as error:
            found[seed] = repr(error)[:300]
    return found


@pytest.fixture
def commands(tmp_path, monkeypatch, capfd):
    """Run a command: what it says on standard error has to be one line of ours."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(words)
        said = capfd.readouterr().err
        if code == 2 and (not said.startswith("pai-bench: ") or "memory of this machine" in said):
            raise AssertionError(said)
        if "Traceback" in said:
            raise AssertionError(said)
        return code

    return run


def test_settings(tmp_path, methods):
    path = tmp_path / "benchmark.yaml"
    path.write_text(inputs.SETTINGS)
    assert loader.load(path, methods).suites

    def attempt(seed):
        path.write_bytes(inputs.settings(seed).encode("utf-8", "surrogatepass"))
        settings = loader.load(path, methods)
        for suite in settings.suites:
            grid.cells(with_overrides(settings, suite), methods, suite)

    assert failures(attempt) == {}


def test_options(commands, tmp_path):
    (tmp_path / "small.yaml").write_text(inputs.SETTINGS)

    def attempt(seed):
        words = inputs.options(seed)
        commands(*words, *(() if "--config" in words else ("--config", "small.yaml")))

    assert failures(attempt, SEEDS[: max(1, NUMBER // 2)]) == {}


def test_plugins(tmp_path, settings):
    path = tmp_path / "mine.py"
    path.write_text(inputs.PLUGIN)
    assert {"mine", "other"} < set(registry.available((path,)))
    assert "tiny-net" in extend(settings, (path,)).networks

    def attempt(seed):
        path.write_bytes(inputs.plugin(seed).encode("utf-8", "surrogatepass"))
        available = registry.available((path,))
        extend(settings, (path,))
        for info in available.values():
            info.without_defaults({name: p.default for name, p in info.hyper.items()})

    assert failures(attempt) == {}
    assert not (tmp_path / "touched").exists()


RESULT = Result(
    "done",
    accuracy=Accuracy(0.75, 0.875, 1),
    density=0.1,
    effective=0.09,
    layers=(Layer("fc1.weight", (2, 2), 4, 2, 2, 1),),
    flops=Flops(8.0, 4.0, 0.0, 12.0),
    seconds={"train": 1.0, "total": 2.0},
    hyper={"alpha": 1},
    environment={"device": "cpu", "packages": {"torch": "2"}, "data": {"source": "digits"}},
)


def test_stored_results(commands, tmp_path, settings, methods):
    (tmp_path / "small.yaml").write_text(inputs.SETTINGS)
    small = loader.load(tmp_path / "small.yaml", methods)
    cells = grid.cells(small, methods, "quick", grid.Selection(("snip",), (0.1,), (1, 2)))
    store, whole = Store(tmp_path / "runs", "quick"), tmp_path / "whole"
    for cell in cells:
        store.put(cell, RESULT, {"test_accuracy": [0.875, 0.75], "test_loss": [2.0, 1.0]})
    shutil.copytree(store.folder, whole)
    show = [("leaderboard", "--suite", "quick"), ("show", cells[0].id), ("verify", "runs"),
            ("export", "quick", "--format", "latex"), ("compare", "snip", "dense")]  # fmt: skip

    def attempt(seed):
        shutil.rmtree(store.folder)
        shutil.copytree(whole, store.folder)
        index.clear_cache()
        inputs.spoil_stored(seed, store.folder / cells[0].id)
        for words in (show[0], show[1 + seed % 4]):
            commands(*words, "--config", "small.yaml")

    assert failures(attempt, SEEDS[: max(1, NUMBER // 2)]) == {}
