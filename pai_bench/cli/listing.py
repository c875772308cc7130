"""What there is: methods, networks, data sets, and single results."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.config.schema import Data
from pai_bench.core.tables import print_fitting
from pai_bench.data.locations import first_digest, readiness
from pai_bench.experiment import network_sizes
from pai_bench.experiment.cost import ordinary_images
from pai_bench.experiment.grid import unknown_method
from pai_bench.store.store import Store, find


def methods(context: Context, parsed: Arguments) -> int:
    """List the methods that can be run, and what they declare."""
    if parsed.json:
        records = [{**asdict(info), "origin": info.origin} for info in context.methods.values()]
        context.console.print_json(json.dumps(records))
        return 0
    if parsed.name:
        _print_method(context, parsed.name)
        return 0
    of_papers = context.settings.methods_of_papers()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, info in sorted(context.methods.items(), key=lambda at: (at[0] not in of_papers, at)):
        table.add_row(Text(name, "bold" if name in of_papers else ""), Text(info.about))
    context.console.print(table)
    say(context, "one", "pai-bench methods NAME")
    return 0


def _print_method(context: Context, name: str) -> None:
    """Print what one method declares."""
    if name not in context.methods:
        raise unknown_method(name, context.methods)
    info = context.methods[name]
    needed = {
        "data": info.needs_data,
        "labels": info.needs_labels,
        "training": info.trains_to_score,
    }
    needs = ", ".join(what for what, needs in needed.items() if needs) or "nothing"
    for topic, text in (
        ("method", f"{name}, version {info.version}: {info.about}"),
        ("source", info.paper or "none"),
        ("when", WHEN[info.when] if info.prunes else "never: it does not prune"),
        ("needs", needs),
        ("file", info.origin),
    ):
        say(context, topic, text)
    for key, parameter in info.hyper.items():
        kind = parameter.kind.removeprefix("Literal[").removesuffix("]")
        say(context, "option", f"{key}={parameter.default} ({kind})")


WHEN = {
    "init": "masks are chosen before training",
    "during": "masks move in training",
    "path": "masks are chosen after a training of its own",
}


def networks(context: Context, parsed: Arguments) -> int:
    """List the networks: their sizes, counted, on each data set that they are used with."""
    rows: list[dict[str, Any]] = []
    for name, data in network_sizes.used(context.settings):
        network = context.settings.networks[name]
        sizes = network_sizes.sizes(network, context.settings.data[data])
        rows.append({"name": name, "data": data, **sizes, "papers": network.papers})
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
    print_fitting(context.console, table, ("papers", "tensors", "prunable"))
    return 0


def datasets(context: Context, parsed: Arguments) -> int:
    """List the data sets: where each comes from, its digest, and whether it is ready here."""
    rows = [
        {
            "name": name,
            **data.model_dump(mode="json", include={"classes", "shape", "images", "digest"}),
            "source": _source(data),
            "seen": None if data.digest else first_digest(name, data),
            "ready": readiness(name, data, context.settings.mirror),
        }
        for name, data in context.settings.data.items()
    ]
    if parsed.json:
        context.console.print_json(json.dumps(rows))
        return 0
    table = Table()
    for heading in ("data set", "classes", "pixels", "images", "source", "digest", "ready"):
        table.add_column(heading, no_wrap=heading not in ("source", "ready"), overflow="fold")
    for row in rows:
        pixels = " x ".join(map(str, row["shape"]))
        images = " + ".join(f"{count:,}" for count in row["images"])
        source = row["source"].partition("@")[0]
        digest = f"{row['digest'][:12]}…" if row["digest"] else "not pinned"
        if row["seen"]:
            digest = f"{row['seen'][:12]}… seen here"
        table.add_row(
            row["name"], str(row["classes"]), pixels, images, source, digest, row["ready"]
        )
    print_fitting(context.console, table, ("digest", "classes", "pixels"))
    return 0


def _source(data: Data) -> str:
    if data.load is not None:
        return data.load
    return f"{data.hub}@{data.revision}" if data.hub else "scikit-learn"


def show(context: Context, parsed: Arguments) -> int:
    """Show everything about one stored cell."""
    from pai_bench.claims.metric_registry import MetricContext, measured

    entry = find(context.folders, parsed.cell)
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
        from pai_bench.leaderboard.single_cell import print_cell

        print_cell(context.console, entry, metrics)
    for problem in wrong:
        print(f"pai-bench: error: {problem}", file=sys.stderr)
    return 2 if wrong else 0
