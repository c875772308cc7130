"""claims.yaml of each paper: what was printed, where, how exactly, and which cells test it.

A file holds tables (one value per row and column), orderings (one method above others) and
statements that no number of ours can test. Each cell of a table and each pair of an ordering is a
claim of its own. All values are kept as the text that was printed (printed.py); `.` stands where
nothing was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pai_bench.claims import metric_registry, printed
from pai_bench.claims.metric_registry import Metric
from pai_bench.claims.printed import Printed
from pai_bench.claims.schema import (
    OTHER,
    Claim,
    Claims,
    ClaimsFile,
    ClaimTable,
    MethodSpec,
    Ordering,
    Source,
    _About,
)
from pai_bench.config.document import Document, Location
from pai_bench.core.errors import BenchError, did_you_mean, unknown
from pai_bench.core.project import ROOT


def available(root: Path = ROOT) -> dict[str, Claims]:
    """Read the claims of all papers, by paper.

    Raises BenchError where a file is not valid: one line with file, line and key.
    """
    all_claims = [
        load(path, root) for path in sorted((root / "reproductions").glob("*/claims.yaml"))
    ]
    return {claims.content.paper: claims for claims in all_claims}


def of_papers(papers: str | None, root: Path = ROOT) -> list[Claims]:
    """Read the claims of one paper, or of all. Raises BenchError for a paper without claims."""
    by_paper = available(root)
    if papers is None:
        return list(by_paper.values())
    if papers not in by_paper:
        raise unknown("paper with claims", papers, by_paper)
    return [by_paper[papers]]


_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""All as text, so that printed digits stay; in C where PyYAML was built with it."""


def load(path: Path, root: Path = ROOT) -> Claims:
    """Read and check one claims file.

    Args:
        path: The file.
        root: Folder whose `reproductions/` have the metrics that it may name.

    Raises:
        BenchError: One line: file, line, key, what is wrong and what was probably meant.
    """
    document = Document(path, ClaimsFile, _LOADER)
    try:
        content = ClaimsFile.model_validate_json(json.dumps(document.content))
    except ValidationError as error:
        raise document.explain(error) from None
    expanded = tuple(_expand(content, document, root))
    return Claims(path, content, expanded)


def _expand(content: ClaimsFile, document: Document, root: Path) -> Iterator[Claim]:
    """List single claims, checking every reference by name on the way."""
    for name, table in content.tables.items():
        metric = _metric(table, ("tables", name), document, root)
        yield from _of_table(content, name, table, metric, document)
    for name, ordering in content.orderings.items():
        metric = _measured(ordering.metric, ("orderings", name), document, root)
        yield from _of_ordering(content, name, ordering, metric, document)
    for name, statement in content.statements.items():
        source = _source(content, statement.source, ("statements", name, "source"), document)
        fields = content.paper, name, statement.kind, source, statement.text
        yield Claim(*fields, untestable=statement.why)


def _of_table(
    content: ClaimsFile, name: str, table: ClaimTable, metric: Metric | None, document: Document
) -> Iterator[Claim]:
    at: Location = ("tables", name)
    columns = _columns(table, at, document)
    common = _common(content, name, table, at, document)
    for row, text in table.rows.items():
        values = text.split()
        if len(values) != len(columns):
            problem = f"{len(values)} values for {len(columns)} columns"
            raise document.error((*at, "rows", row), problem)
        method, why = _method(content, table, row, (*at, "rows", row), document)
        allowances = _allowances(table, row, columns, at, document)
        for column, value, allowance in zip(columns, values, allowances, strict=True):
            if value != ".":
                yield Claim(
                    **{**common, "untestable": common["untestable"] or why},
                    kind=metric.kind if metric else "absolute",
                    metric=metric,
                    epoch=table.epoch,
                    suite=_suite(table, row),
                    printed_name=row,
                    method=method,
                    at=column,
                    at_density=table.density,
                    value=_printed(value, common["source"], table, (*at, "rows", row), document),
                    doubt=table.doubt,
                    allowance=allowance,
                )


def _allowances(
    table: ClaimTable, row: str, columns: list[str], at: Location, document: Document
) -> list[float]:
    texts = table.allowance.get(row, "").split() or ["."] * len(columns)
    known = all(re.fullmatch(r"\.|0?\.\d+", text) for text in texts)
    if len(texts) != len(columns) or not known or table.allowance.keys() - table.rows.keys():
        raise document.error((*at, "allowance"), "a part as .035 or . for each column of a row")
    return [0.0 if text == "." else float(text) for text in texts]


def _metric(table: ClaimTable, at: Location, document: Document, root: Path) -> Metric | None:
    """Find the metric of a table; None where results do not hold what is printed."""
    if table.metric == OTHER:
        if not table.quantity:
            raise document.error(at, "metric other needs a quantity")
        return None
    return _measured(table.metric, at, document, root)


def _measured(name: str, at: Location, document: Document, root: Path) -> Metric:
    try:
        return metric_registry.find(name, root)
    except BenchError as error:
        raise document.error((*at, "metric"), str(error)) from None


def _common(
    content: ClaimsFile, name: str, block: _About, at: Location, document: Document
) -> dict[str, Any]:
    """Collect what all claims of a block share; untestable without a suite."""
    if not (block.suite or block.replay or block.why):
        raise document.error(at, "name the suite that tests it, or say why there is none")
    if block.replay and (block.suite or block.replay not in content.replays):
        problem = f'replay "{block.replay}" stands beside a suite or not under replays'
        raise document.error((*at, "replay"), problem)
    for suite in (*filter(None, [block.suite]), *block.elsewhere.values()):
        if suite not in content.suites:
            hint = did_you_mean(suite, content.suites)
            problem = f'suite "{suite}" is not under suites, with its deviations; {hint}'
            raise document.error((*at, "suite"), problem)
    return {
        "paper": content.paper,
        "block": name,
        "source": _source(content, block.source, (*at, "source"), document),
        "about": block.about,
        "network": block.network,
        "data": block.data,
        "replay": block.replay,
        "deviations": block.deviations,
        "seeds_seen": block.seeds_seen,
        "untestable": "" if block.suite or block.replay else block.why,
    }


def _suite(block: _About, name: str) -> str | None:
    """Name the suite that runs the method of a printed name."""
    return block.elsewhere.get(name, block.suite)


def _source(content: ClaimsFile, name: str, at: Location, document: Document) -> Source:
    if name not in content.sources:
        raise document.error(at, f'unknown source "{name}"; {did_you_mean(name, content.sources)}')
    return content.sources[name]


def _columns(table: ClaimTable | Ordering, at: Location, document: Document) -> list[str]:
    if bool(table.densities) == bool(table.columns):
        raise document.error(at, "needs either densities or columns")
    if table.columns and bool(table.suite) != bool(table.density):
        raise document.error(at, "a suite tests columns that are no densities at one `density`")
    _densities(table.density, at, document)
    return _densities(table.densities, at, document) or table.columns.split()


def _densities(text: str, at: Location, document: Document) -> list[str]:
    for part in text.split():
        if not re.fullmatch(r"1|0\.\d+", part):
            raise document.error((*at, "densities"), f"not a density above 0, at most 1: {part}")
    return text.split()


def _method(
    content: ClaimsFile, block: _About, name: str, at: Location, document: Document
) -> tuple[MethodSpec | None, str]:
    """Find the method that a printed name stands for, or why there is none."""
    suite = _suite(block, name)
    of_suite = content.suites[suite].lines if suite else {}
    lines: Mapping[str, MethodSpec] = {**content.lines, **of_suite, **block.lines}
    if name in lines:
        if len(hyper := lines[name]) != 1 and isinstance(hyper, dict):
            raise document.error(at, f'"{name}" stands for {len(hyper)} methods: write one')
        return lines[name], ""
    if name in content.not_ours:
        return None, content.not_ours[name]
    if block.suite is None:
        return None, ""
    hint = did_you_mean(name, [*lines, *content.not_ours])
    raise document.error(at, f'"{name}" is neither under lines nor under not_ours; {hint}')


def _printed(
    text: str, source: Source, table: ClaimTable, at: Location, document: Document
) -> Printed:
    try:
        return printed.read(text, source.precision, source.rough, table.n)
    except ValueError as error:
        raise document.error(at, str(error)) from None


def _of_ordering(
    content: ClaimsFile, name: str, ordering: Ordering, metric: Metric, document: Document
) -> Iterator[Claim]:
    at: Location = ("orderings", name)
    common = _common(content, name, ordering, at, document)
    firsts = (ordering.above,) if isinstance(ordering.above, str) else ordering.above
    for above, (index, below) in product(firsts, enumerate(ordering.below)):
        over, why = _method(content, ordering, above, (*at, "above"), document)
        under, other = _method(content, ordering, below, (*at, "below", index), document)
        for column in _columns(ordering, at, document):
            yield Claim(
                **{**common, "untestable": common["untestable"] or why or other},
                kind="ordering",
                metric=metric,
                suite=_suite(ordering, above),
                printed_name=above,
                method=over,
                against_name=below,
                against=under,
                against_suite=_suite(ordering, below),
                at=column,
                at_density=ordering.density,
            )
