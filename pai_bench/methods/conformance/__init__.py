"""Conformance suite: checks that a method, built in or of a plugin, keeps the contract.

`pai-bench check my-method` prints one line per check. In the tests of a package with methods:

    from pai_bench import assert_conforms

    def test_my_method():
        assert_conforms("my-method")      # or the class itself: assert_conforms(MyMethod)

Tiny networks and two epochs on scikit-learn's digits: a few seconds per method, no downloads.
"""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.rng import RandomStreams
from pai_bench.methods.conformance import cells, isolation, masks, spec
from pai_bench.methods.conformance.subject import Advice, Failure, Subject, find, name_of

__all__ = ["CHECKS", "Finding", "assert_conforms", "check"]


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    ok: bool | None
    """True: passed. False: failed. None: advice, or the check did not run."""
    message: str
    """One line; of a failure: what is wrong, where, and how to fix it."""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


@dataclass(frozen=True)
class ConformanceCheck:
    """A named check of a method."""

    name: str
    run: Callable[[Subject], str]
    """Returns the message of a pass; raises Failure or Advice."""
    after: tuple[str, ...] = ()
    """Checks that must pass first: without them this one has no meaning."""


RUNS = ("masks",)
REPEATS = ("repeatable",)
CHECKS = (
    ConformanceCheck("declaration", spec.declaration),
    ConformanceCheck("hyper-parameters", spec.hyper_parameters),
    ConformanceCheck("labels", spec.labels),
    ConformanceCheck("data", spec.data),
    ConformanceCheck("masks", masks.masks, ("labels", "data")),
    ConformanceCheck("networks", masks.networks, RUNS),
    ConformanceCheck("density", masks.density, ("networks",)),
    ConformanceCheck("layers", masks.layers, ("networks", "density")),
    ConformanceCheck("options", masks.options, ("networks", "hyper-parameters")),
    ConformanceCheck("types", masks.types, ("networks",)),
    ConformanceCheck("gpu", masks.gpu, ("networks",)),
    ConformanceCheck("one image", masks.one_image, ("networks",)),
    ConformanceCheck("repeatable", isolation.repeatable, RUNS),
    ConformanceCheck("order", isolation.order, ("networks", "repeatable")),
    ConformanceCheck("random state", isolation.random_state, REPEATS),
    ConformanceCheck("seeds", isolation.seeds, REPEATS),
    ConformanceCheck("network", isolation.network, ("networks",)),
    ConformanceCheck("batches", isolation.batches, RUNS),
    ConformanceCheck("cell", cells.cell, ("networks",)),
    ConformanceCheck("cell again", cells.cell_again, ("cell", "order", "random state")),
    ConformanceCheck("pruned weights", cells.pruned_weights, ("cell",)),
    ConformanceCheck("checkpoint", cells.checkpoint, ("cell",)),
    ConformanceCheck(
        "interruption", cells.interruption, ("cell again", "pruned weights", "checkpoint")
    ),
    ConformanceCheck("pickle", cells.picklable, ("cell",)),
    ConformanceCheck("silence", isolation.silence, RUNS),
)


def check(method: str | type, plugins: tuple[Path, ...] = ()) -> Iterator[Finding]:
    """Check a method, and yield one finding per check as it ends.

    A failed check does not stop the others, except those that depend on it.

    Args:
        method: Name of a method, or its class. A class that is not registered under its name is
            imported from its file, as a plugin is.
        plugins: Files with methods, networks or data sets of one's own.

    Raises:
        BenchError: The name is unknown, or a plugin cannot be read.
    """
    location = find(method, plugins)
    started = time.perf_counter()
    try:
        with _isolated(io.StringIO()):
            subject = location.load()
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
        message = f"{kind}{first_line(error)}"
        yield Finding("import", False, message, time.perf_counter() - started)
        return
    yield Finding("import", True, subject.info.origin, time.perf_counter() - started)
    failed: set[str] = set()
    for entry in CHECKS:
        cause = next((name for name in entry.after if name in failed), None)
        finding = _run(entry, subject) if cause is None else _skipped(entry, cause)
        if finding.ok is False or cause is not None:
            failed.add(entry.name)
        yield finding


def assert_conforms(method: str | type, plugins: tuple[Path, ...] = ()) -> None:
    """Assert that a method passes the conformance suite.

    Args:
        method: Name of a method, or its class, which must be decorated with `@register("name")` at
            the top level of a file that can be imported by itself, or be found through an entry
            point of the group `pai_bench.methods`.
        plugins: Files with methods, networks or data sets of one's own.

    Raises:
        AssertionError: A check failed; one line per failed check.
        BenchError: The name is unknown, or a plugin cannot be read.
    """
    failures = [str(finding) for finding in check(method, plugins) if finding.ok is False]
    if failures:
        name = method if isinstance(method, str) else name_of(method)
        raise AssertionError("\n".join([f"{name} does not conform:", *failures]))


def _run(entry: ConformanceCheck, subject: Subject) -> Finding:
    started = time.perf_counter()
    printed = io.StringIO()
    ok: bool | None = True
    try:
        with _isolated(printed):
            message = entry.run(subject)
    except Advice as advice:
        ok, message = None, str(advice)
    except Failure as failure:
        ok, message = False, str(failure)
    except Exception as error:
        ok = False
        message = f"{type(error).__name__}: {first_line(error)}{subject.line_of(error)}"
    subject.printed += printed.getvalue().splitlines()[:1]
    return Finding(entry.name, ok, message, time.perf_counter() - started)


def _skipped(entry: ConformanceCheck, cause: str) -> Finding:
    return Finding(entry.name, None, f"skipped: `{cause}` must pass first")


@contextlib.contextmanager
def _isolated(printed: io.StringIO) -> Iterator[None]:
    """Run on one thread, so that sums repeat; restore all global state of this process."""
    threads, state, numpy_state = torch.get_num_threads(), random.getstate(), np.random.get_state()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(printed), RandomStreams(0).as_global("check"):
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(state)
        np.random.set_state(numpy_state)
