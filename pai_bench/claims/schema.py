"""What a claims.yaml may hold, and what becomes of it: single claims."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isclose
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from pai_bench.claims.metric_registry import Epoch, Kind, Metric
from pai_bench.claims.printed import Printed
from pai_bench.config.document import Loader

DEFAULT_METRIC = "accuracy"
OTHER = "other"
"""Metric of a table whose `quantity` results do not hold."""

MethodSpec = str | dict[str, dict[str, str]]
"""A method as in a suite: `name` or `name: {hyper-parameter: value}`."""


class _Block(BaseModel):
    """Base of all that stands in a claims file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Block):
    """Where numbers stand, who says so and how exactly they can be read."""

    what: str
    by: Literal["paper", "authors", "replication"] = "paper"
    """`authors`: their code, its documents and their answers; `replication`: somebody else's."""
    reading: Literal["printed", "digitised", "by-eye"] = "printed"
    precision: float | None = Field(default=None, gt=0)
    """Half-width of what a value may be; half a unit of its last digit unless given."""
    rough: float | None = Field(default=None, gt=0)
    """The same for values written with ~."""


class SuiteOfClaims(_Block):
    """A suite that tests claims."""

    deviations: tuple[str, ...]
    """How its cells are known to differ from what the paper ran."""
    seeds_seen: int | None = Field(default=None, ge=0)
    """Seeds whose results had been seen when their number was settled; 0: it was fixed before."""
    lines: dict[str, MethodSpec] = {}
    """Printed name -> method, where it differs from that of the file."""


class ReplayOfClaims(_Block):
    """A program of the authors that is run again on its own inputs, and tests what it printed."""

    deviations: tuple[str, ...]
    """How what is run is known to differ from what they ran."""
    seeds_seen: int | None = Field(default=None, ge=0)
    """Replicas whose results had been seen when their number was settled, as of a suite."""


class _About(_Block):
    about: str
    source: str
    network: str = ""
    data: str = ""
    suite: str | None = None
    replay: str = ""
    """Instead of a suite: the program that printed it, run again on its own inputs."""
    why: str = ""
    """Why nothing is run, where there is neither."""
    elsewhere: dict[str, str] = {}
    """Printed name -> suite, for methods that another suite runs."""
    lines: dict[str, MethodSpec] = {}
    """Printed name -> method, where it differs from that of the suite."""
    deviations: tuple[str, ...] = ()
    """How the suite differs from what was run for this table, beside what holds for all of it."""
    seeds_seen: int | None = Field(default=None, ge=0)
    """As of a suite, where it is another number for this table."""


class ClaimTable(_About):
    """Printed values: a row per method, a column per density (or per something else)."""

    metric: str = DEFAULT_METRIC
    quantity: str = ""
    """What is printed and in which unit, where the metric is `other`."""
    epoch: Epoch = "last"
    n: int | None = None
    """Runs behind each value, where that is known."""
    densities: str = ""
    columns: str = ""
    """Instead of densities: what the columns are."""
    density: str = ""
    """With columns: the density of the cells that all of them are measured of."""
    doubt: str = ""
    """Why the print itself is probably wrong."""
    allowance: dict[str, str] = {}
    """Row -> by column, part of the value by which the paper's way of counting differs from ours,
    as counted in both ways; `.` where the metric's own tolerance is enough."""
    rows: dict[str, str]


class Ordering(_About):
    """Each of some methods above each of others, at each of some densities or other columns."""

    metric: str = DEFAULT_METRIC
    densities: str = ""
    columns: str = ""
    """As of a table."""
    density: str = ""
    above: str | tuple[str, ...] = Field(min_length=1)
    below: tuple[str, ...] = Field(min_length=1)


class Statement(_Block):
    """What is claimed in words and cannot be tested by cells of ours."""

    kind: Kind
    text: str
    source: str
    why: str


class ClaimsFile(_Block):
    """One claims.yaml."""

    paper: str
    authors: tuple[str, ...] = Field(min_length=1)
    year: int
    sources: dict[str, Source]
    suites: dict[str, SuiteOfClaims] = {}
    replays: dict[str, ReplayOfClaims] = {}
    lines: dict[str, MethodSpec] = {}
    """Printed name -> the method here that it is."""
    not_ours: dict[str, str] = {}
    """Printed name -> why no method here is it."""
    tables: dict[str, ClaimTable] = {}
    orderings: dict[str, Ordering] = {}
    statements: dict[str, Statement] = {}
    missing: tuple[str, ...] = ()
    """What the paper claims and is not here, because it could not be verified."""


@dataclass(frozen=True)
class Claim:
    """One claim: a value of one method, or one method above another, at one density."""

    paper: str
    block: str
    kind: Kind
    source: Source
    about: str
    network: str = ""
    data: str = ""
    suite: str | None = None
    replay: str = ""
    """The program that printed it, where that is run again."""
    metric: Metric | None = None
    """What is measured of results; None where they do not hold it."""
    epoch: Epoch = "last"
    printed_name: str = ""
    method: MethodSpec | None = None
    against_name: str = ""
    against: MethodSpec | None = None
    against_suite: str | None = None
    at: str = ""
    """The density or the other column, as text."""
    at_density: str = ""
    """The density where the column is something else, as text."""
    value: Printed | None = None
    doubt: str = ""
    allowance: float = 0.0
    """Part of the value that another way of counting makes of it."""
    deviations: tuple[str, ...] = ()
    """Of its table or ordering, beside those of the suite."""
    seeds_seen: int | None = None
    """The same; None where it is that of the suite."""
    untestable: str = ""
    """Why no cell can test it; empty where a suite is named that does."""

    @property
    def id(self) -> str:
        """Unique name: block, method and column."""
        return "/".join(filter(None, (self.block, self.printed_name, self.against_name, self.at)))

    @property
    def density_text(self) -> str:
        """The density of the cells that test it, as text."""
        return self.at_density or self.at

    @property
    def density(self) -> float:
        """The density of the cells that test it."""
        return float(self.density_text)

    @property
    def column(self) -> str:
        """The column of its table, where that is no density."""
        return self.at if self.at_density else ""

    @property
    def of_untrained(self) -> bool:
        """Whether it is about networks before their training, so that no training tests it."""
        return self.metric is not None and self.metric.kind == "spectrum"

    def is_at(self, density: float) -> bool:
        """Tell whether `density` is that of the claim, as exactly as papers print densities."""
        return isclose(density, self.density, rel_tol=1e-3)

    @property
    def metric_name(self) -> str:
        """The metric as a claims file says it."""
        return self.metric.name if self.metric else OTHER

    @property
    def digits(self) -> int:
        """Decimals to show a measured value with."""
        return self.metric.digits(self.value.text if self.value else "") if self.metric else 2

    @property
    def claimed(self) -> str:
        """What is claimed, in a few characters."""
        if self.value is not None:
            return self.value.text
        return f"above {self.against_name}" if self.against_name else "in words"


@dataclass(frozen=True)
class Claims:
    """All claims of one paper."""

    path: Path
    content: ClaimsFile
    claims: tuple[Claim, ...]

    @property
    def folder(self) -> Path:
        """Folder of the reproduction."""
        return self.path.parent


def hyper_of(entry: MethodSpec) -> tuple[str, dict[str, Any]]:
    """Split a method of a claims file into its name and hyper-parameters, read as YAML.

    >>> hyper_of({"ntk-sap": {"rounds": "20", "start": "last-draw"}})
    ('ntk-sap', {'rounds': 20, 'start': 'last-draw'})
    """
    if isinstance(entry, str):
        return entry, {}
    ((name, hyper),) = entry.items()
    return name, {key: _value(text) for key, text in hyper.items()}


@lru_cache
def _value(text: str) -> Any:
    """Read one value as YAML; a claims file repeats few of them often."""
    return yaml.load(text, Loader)
