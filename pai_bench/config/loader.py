"""benchmark.yaml and its includes, read and checked: errors name file, line, key, nearest name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from pai_bench.config import include
from pai_bench.config.document import Document, Location
from pai_bench.config.schema import Benchmark, Suite
from pai_bench.core.errors import BenchError, check_name, did_you_mean


class Checked(Protocol):
    """What is asked of a known method: whether hyper-parameters are its own."""

    def check(self, hyper: Mapping[str, Any]) -> None:
        """Raise BenchError for a hyper-parameter that the method does not have."""


def load(path: Path, methods: Mapping[str, Checked]) -> Benchmark:
    """Read and check benchmark.yaml, with the files that it includes, against itself and `methods`.

    Raises BenchError with one line: file, line, key, what is wrong and what was probably meant.
    """
    document = include.read(path)
    try:
        settings = Benchmark.model_validate_json(document.as_json())
    except ValidationError as error:
        raise document.explain(error) from None
    _check_keys(settings, document)
    _check_names(settings, document, methods)
    return settings


def _check_keys(settings: Benchmark, document: Document) -> None:
    """Check the names of what becomes files and folders."""
    for section in ("data", "networks", "recipes", "suites"):
        for name in getattr(settings, section):
            try:
                check_name("the name", name)
            except BenchError as error:
                raise document.error((section, name), str(error)) from None


def _check_names(settings: Benchmark, document: Document, methods: Mapping[str, Checked]) -> None:
    """Check every reference by name: networks and suites to their parts, papers to suites."""
    known = partial(_check_name, document)
    _check_suites(settings, document, methods)
    for key, network in settings.networks.items():
        for name in network.macs:
            known(("networks", key, "macs", name), "data set", name, settings.data)
    for key, steps in settings.campaigns.items():
        for index, step in enumerate(steps):
            known(("campaigns", key, index, "suite"), "suite", step.suite, settings.suites)
            for name in step.methods:
                known(("campaigns", key, index, "methods"), "method", name, methods)
    for key, paper in settings.papers.items():
        for index, name in enumerate(paper.methods):
            known(("papers", key, "methods", index), "method", name, methods)
        for short, name in paper.suites.items():
            known(("papers", key, "suites", short), "suite", name, settings.suites)
        known(("papers", key, "protocol"), "suite of this paper", paper.protocol, paper.suites)
        known(("papers", key, "suites"), "suite of this paper", "quick", paper.suites)


def _check_name(
    document: Document, at: Location, kind: str, name: str, names: Iterable[str]
) -> None:
    if name not in names:
        raise document.error(at, f'unknown {kind} "{name}"; {did_you_mean(name, names)}')


def _check_suites(settings: Benchmark, document: Document, methods: Mapping[str, Checked]) -> None:
    known = partial(_check_name, document)
    for key, suite in settings.suites.items():
        known(("suites", key, "network"), "network", suite.network, settings.networks)
        known(("suites", key, "data"), "data set", suite.data, settings.data)
        known(("suites", key, "recipe"), "recipe", suite.recipe, settings.recipes)
        _check_steps(settings, suite, ("suites", key, "recipe"), document)
        for index, entry in enumerate(suite.methods):
            _check_method(entry, ("suites", key, "methods", index), document, methods)


def _check_steps(settings: Benchmark, suite: Suite, at: Location, document: Document) -> None:
    """Check that a recipe that counts in steps allows for enough epochs on this data set."""
    recipe, images = settings.recipes[suite.recipe], settings.data[suite.data].images[0]
    if recipe.steps and recipe.steps * recipe.batch_size > recipe.epochs * images:
        per_epoch = f"{images} images at {recipe.batch_size} a step"
        raise document.error(at, f"{recipe.steps} steps of {per_epoch} need more epochs")


def _check_method(
    entry: str | dict[str, dict[str, Any]],
    at: Location,
    document: Document,
    methods: Mapping[str, Checked],
) -> None:
    """Check one method of a suite and its hyper-parameters."""
    hyper_by_name = method_entry(entry)
    if len(hyper_by_name) != 1:
        raise document.error(at, "an entry holds one method; start another one with a dash")
    for name, hyper in hyper_by_name.items():
        if name not in methods:
            raise document.error(at, f'unknown method "{name}"; {did_you_mean(name, methods)}')
        try:
            methods[name].check(hyper)
        except BenchError as error:
            raise document.error(at, str(error)) from None


def method_entry(entry: str | dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give both spellings of a suite's method the longer form.

    >>> method_entry("snip")
    {'snip': {}}
    """
    return {entry: {}} if isinstance(entry, str) else entry
