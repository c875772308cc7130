"""A small store with results of two methods, what is made from it, and what that must hold."""

import json
from collections import defaultdict
from statistics import fmean

import pytest
from scipy import stats

from pai_bench.claims.lookup import ResultLookup
from pai_bench.experiment import grid
from pai_bench.experiment.cell import PROTOCOL
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.page import PageHeading, page
from pai_bench.leaderboard.wandb.report import report
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store


@pytest.fixture(scope="module")
def cells(settings, methods):
    chosen = grid.Selection(("dense", "snip"), (0.1,), (1, 2))
    return grid.cells(settings, methods, "quick", chosen)


@pytest.fixture(scope="module")
def store(tmp_path_factory, cells):
    store = Store(tmp_path_factory.mktemp("results"), "quick")
    for cell in cells:
        last = 0.9 + cell.seed / 100 + (cell.method == "snip") / 64
        curves = {
            "test_accuracy": [0.5 + cell.seed / 10, last],
            "train_loss": [1.0, cell.seed / 16],
            "test_loss": [1.0, 0.2],
        }
        environment = {"torch": "2.13", "data": {"source": "/home/somebody/mirror/digits"}}
        result = Result(
            "done", accuracy=Accuracy(last, last, 2), density=cell.density, effective=0.05,
            hyper={"images": 100}, seconds={"total": 2.0 * cell.seed}, environment=environment,
        )  # fmt: skip
        store.put(cell, result, curves)
    return store


@pytest.fixture(scope="module")
def made(store, cells):
    return board(store, "quick", cells, {"ntk-sap"})


@pytest.fixture(scope="module")
def paged(store, made, settings, methods):
    heading = PageHeading("quick", "about", "pai-bench run quick", "pai-bench leaderboard")
    measured = ResultLookup(settings, methods, [store.folder.parent])
    return page(heading, [made], settings, methods, measured)


@pytest.fixture(scope="module")
def told(made, paged, settings):
    return report(made, paged, settings)


@pytest.fixture(scope="module")
def expected(store):
    """What each run in W&B must hold, by the name that it shows: computed from the store alone."""
    lines = defaultdict(list)
    for entry in store.entries(store.ids()):
        lines[entry.cell.method, entry.cell.density].append(entry)
    found = {}
    for (method, density), line in sorted(lines.items()):
        line.sort(key=lambda entry: entry.cell.seed)
        found[f"{method} · density {density:g}"] = _expected_line(method, line)
    return {**found, "leaderboard · quick": _expected_board(list(found.values()))}


def _expected_line(method, line):
    cell, history = line[0].cell, _epochs(line)
    kind = "reference" if method == "dense" else "baseline"
    resolved = {k: v for k, v in cell.resolved().items() if k != "seed"}
    row = {"line": method, "method": method, "kind": kind, **_numbers(line)}
    seconds = fmean(entry.result.seconds["total"] for entry in line)
    return {
        "group": f"quick · {method}",
        "job_type": "train",
        "tags": ["quick", method, cell.network, cell.data, kind, f"protocol-{PROTOCOL}"],
        "config": {
            **json.loads(json.dumps(resolved)),
            "suite": "quick",
            "hyper": {"images": 100},
            "seeds": [1, 2],
            "cells": [entry.cell.id for entry in line],
            "environment": {"torch": "2.13", "data": {"source": "digits"}},
        },
        "history": history,
        "summary": {**history[-1], **_numbers(line), "seconds": seconds},
        "row": row,
    }


def _expected_board(lines):
    rows = [line["row"] for line in lines]
    points = sorted((row["density"], row["line"], row["mean"]) for row in rows)
    return {
        "group": "quick",
        "job_type": "leaderboard",
        "tags": ["quick", "leaderboard", f"protocol-{PROTOCOL}"],
        "history": [{"density": d, f"accuracy/{line}": mean} for d, line, mean in points],
        "rows": rows,
    }


def _numbers(line):
    values = [entry.result.accuracy.last for entry in line]
    low, high = stats.t.interval(0.95, 1, fmean(values), stats.sem(values))
    density = line[0].cell.density
    return {
        "density": density, "sparsity": 1 - density, "n": 2, "mean": fmean(values),
        "low": float(low), "high": float(high), "best_epoch": fmean(values),
        "achieved": density, "effective": 0.05, "collapsed": 0,
    }  # fmt: skip


def _epochs(line):
    curves = {entry.cell.seed: entry.curves() for entry in line}
    names = ("test_accuracy", "train_loss", "test_loss")
    return [
        {
            "epoch": epoch + 1,
            **{name: fmean(c[name][epoch] for c in curves.values()) for name in names},
            **{f"seed-{s}/test_accuracy": c["test_accuracy"][epoch] for s, c in curves.items()},
        }
        for epoch in range(2)
    ]


@pytest.fixture(scope="module")
def same():
    """Compare what the client made of a record with the record: `same(made, record)`."""

    def near(value):
        if isinstance(value, dict):
            return {key: near(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [near(inner) for inner in value]
        return pytest.approx(value, rel=1e-9) if isinstance(value, float) else value

    def compare(made, record):
        plain = {k: v for k, v in made.items() if not k.startswith("_")}
        assert plain == near(record)

    return compare
