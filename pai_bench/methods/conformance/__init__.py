"""Does a method keep its side of the contract? A conformance suite for ours and for plugins.

`pai-bench check my-method` prints one line per check. In the tests of a package with methods:

    from pai_bench import assert_conforms

    def test_my_method():
        assert_conforms("my-method")      # or the class itself: assert_conforms(MyMethod)

Tiny networks and two epochs on scikit-learn's digits: a few seconds per method, and no network.
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
from pai_bench.methods.conformance.subject import Noteworthy, Subject, Wrong, find, name_of

__all__ = ["CHECKS", "Finding", "assert_conforms", "check"]


@dataclass(frozen=True)
class Finding:
    """What one check found. `ok` None means: nothing wrong, but good to know."""

    name: str
    ok: bool | None
    said: str
    """What was found; of a failure: what is wrong, where, and how to mend it. One line."""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}: {self.said}"


@dataclass(frozen=True)
class ConformanceCheck:
    """A check says what it found, or raises; `after` are those without which it has no meaning."""

    name: str
    look: Callable[[Subject], str]
    after: tuple[str, ...] = ()


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
    """Examine a method: one finding per check, as soon as it is there.

    `method` is a name that the registry finds, with `plugins` if need be, or a class; a class is
    imported from its file as a plugin is, unless it is found without. A check that fails does not
    stop the others, except those that would only say the same again.

    Raises BenchError for an unknown name or a plugin that cannot be read.
    """
    where = find(method, plugins)
    started = time.perf_counter()
    try:
        with _undisturbed(io.StringIO()):
            subject = where.load()
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
        said = f"{kind}{first_line(error)}"
        yield Finding("import", False, said, time.perf_counter() - started)
        return
    yield Finding("import", True, subject.info.origin, time.perf_counter() - started)
    stuck: set[str] = set()
    for one in CHECKS:
        cause = next((name for name in one.after if name in stuck), None)
        finding = _examine(one, subject) if cause is None else _left_out(one, cause)
        if finding.ok is False or cause is not None:
            stuck.add(one.name)
        yield finding


def assert_conforms(method: str | type, plugins: tuple[Path, ...] = ()) -> None:
    """Hold a method to the contract, in a test: some seconds on the CPU, no network needed.

    Args:
        method: A name, or a class that is decorated with `@register("name")` at the top of a file
            that can be imported by itself, or that an entry point of the group `pai_bench.methods`
            leads to.
        plugins: Files in which the name may be found.

    Raises:
        AssertionError: Some checks fail; it has one line for each.
        BenchError: There is no such method, or its file cannot be read.
    """
    failed = [str(finding) for finding in check(method, plugins) if finding.ok is False]
    if failed:
        name = method if isinstance(method, str) else name_of(method)
        raise AssertionError("\n".join([f"{name} does not conform:", *failed]))


def _examine(one: ConformanceCheck, subject: Subject) -> Finding:
    started = time.perf_counter()
    printed = io.StringIO()
    ok: bool | None = True
    try:
        with _undisturbed(printed):
            said = one.look(subject)
    except Noteworthy as note:
        ok, said = None, str(note)
    except Wrong as wrong:
        ok, said = False, str(wrong)
    except Exception as error:
        ok = False
        said = f"{type(error).__name__}: {first_line(error)}{subject.line_of(error)}"
    subject.printed += printed.getvalue().splitlines()[:1]
    return Finding(one.name, ok, said, time.perf_counter() - started)


def _left_out(one: ConformanceCheck, cause: str) -> Finding:
    return Finding(one.name, None, f"not looked at: `{cause}` comes first")


@contextlib.contextmanager
def _undisturbed(printed: io.StringIO) -> Iterator[None]:
    """Run on one thread, so that sums repeat; put back all global state of this process."""
    threads, state, numpy_state = torch.get_num_threads(), random.getstate(), np.random.get_state()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(printed), RandomStreams(0).as_global("check"):
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(state)
        np.random.set_state(numpy_state)
