"""What there is: methods, networks, data sets, and single results."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from pai_bench.cli.context import Arguments, Context
from pai_bench.config.schema import Data
from pai_bench.data.locations import readiness
from pai_bench.experiment.cost import ordinary_images
from pai_bench.store.store import Store, find


def methods(context: Context, parsed: Arguments) -> int:
    """List the methods that can be run, and what they declare."""
    if parsed.json:
        records = [{**asdict(info), "origin": info.origin} for info in context.methods.values()]
        context.console.print_json(json.dumps(records))
        return 0
    table = Table()
    for heading in ("method", "version", "paper", "when", "needs", "origin", "about"):
        table.add_column(heading, no_wrap=heading == "origin")
    for info in context.methods.values():
        needs = [
            name
            for name, needed in (
                ("data", info.needs_data),
                ("labels", info.needs_labels),
                ("training", info.trains_to_score),
            )
            if needed
        ]
        facts = info.name, str(info.version), info.paper or "", info.when
        table.add_row(*facts, ", ".join(needs) or "nothing", info.origin, Text(info.about))
    context.console.print(table)
    return 0


def networks(context: Context, parsed: Arguments) -> int:
    """List the networks: their sizes, counted, on each data set that they are used with."""
    from pai_bench.networks.describe import describe

    rows: list[dict[str, Any]] = []
    for name, network in context.settings.networks.items():
        for data_name in network.macs:
            data = context.settings.data[data_name]
            sizes = asdict(describe(network, data.shape, data.classes))
            rows.append({"name": name, "data": data_name, **sizes, "papers": network.papers})
    if parsed.json:
        context.console.print_json(json.dumps(rows))
        return 0
    table = Table()
    for heading in ("network", "data"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "prunable", "tensors", "MFLOPs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("papers")
    for row in rows:
        counts = (f"{row[key]:,}" for key in ("parameters", "prunable", "tensors"))
        flops = f"{row['flops'] / 1e6:,.1f}"
        table.add_row(row["name"], row["data"], *counts, flops, ", ".join(row["papers"]))
    context.console.print(table)
    return 0


def datasets(context: Context, parsed: Arguments) -> int:
    """List the data sets: where each comes from, its digest, and whether it is ready here."""
    rows = [
        {
            "name": name,
            **data.model_dump(mode="json", include={"classes", "shape", "images", "digest"}),
            "source": _source(data),
            "ready": readiness(name, data, context.settings.mirror),
        }
        for name, data in context.settings.data.items()
    ]
    if parsed.json:
        context.console.print_json(json.dumps(rows))
        return 0
    table = Table()
    for heading in ("data set", "classes", "pixels", "images", "source", "digest", "ready"):
        table.add_column(heading, no_wrap=heading == "data set")
    for row in rows:
        pixels = " x ".join(map(str, row["shape"]))
        images = " + ".join(f"{count:,}" for count in row["images"])
        source = row["source"].partition("@")[0]
        digest = f"{row['digest'][:12]}…" if row["digest"] else "not pinned"
        table.add_row(
            row["name"], str(row["classes"]), pixels, images, source, digest, row["ready"]
        )
    context.console.print(table)
    return 0


def _source(data: Data) -> str:
    if data.load is not None:
        return data.load
    return f"{data.hub}@{data.revision}" if data.hub else "scikit-learn"


def show(context: Context, parsed: Arguments) -> int:
    """Show everything about one stored cell."""
    from pai_bench.claims.metric_registry import MetricContext, measured

    entry = find(context.runs, parsed.cell)
    wrong = Store(entry.folder.parent.parent, entry.folder.parent.name).verify(entry.folder.name)
    images = ordinary_images(context.settings, entry.folder.parent.name)
    metrics = measured(entry.result, MetricContext(images=images))
    if parsed.json:
        shown = {"cell": entry.cell.resolved(), "result": entry.result.to_json()}
        values = {metric.name: value for metric, value in metrics.items()}
        context.console.print_json(
            json.dumps({**shown, "metrics": values, "curves": entry.curves()})
        )
    else:
        from pai_bench.leaderboard.terminal import print_cell

        print_cell(context.console, entry, metrics)
    for problem in wrong:
        print(f"pai-bench: error: {problem}", file=sys.stderr)
    return 2 if wrong else 0
