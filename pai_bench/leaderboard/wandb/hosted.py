"""A report as one in W&B: made once, and written over from then on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pai_bench.leaderboard.wandb.report import (
    Block,
    Curves,
    Plot,
    Report,
    ReportHeading,
    ReportTable,
    table,
)

NOTES = "reports-online.json"
"""Which reports there are: address of the project -> title -> id."""
MOST_RUNS = 100
"""Runs that a plot of W&B's may show at once."""


def host(report: Report, entity: str, project: str, address: str, folder: Path) -> str:
    """Write a report to a project, over the one that was made before; return its address.

    `address` is that of the project. Needs a login; raises what the client raises.
    """
    from wandb_workspaces.reports import v2

    noted = _noted(folder)
    draft = v2.Report(
        entity=entity,
        project=project,
        title=report.title,
        blocks=[_block(block, entity, project, address) for block in report.blocks],
        width="fluid",
    )
    before = noted.get(address, {}).get(report.title)
    if before and _exists(before):
        draft.id = before
    draft.save()
    noted.setdefault(address, {})[report.title] = draft.id
    (folder / NOTES).write_text(json.dumps(noted, indent=1))
    return str(draft.url)


def _noted(folder: Path) -> dict[str, dict[str, str]]:
    try:
        noted: dict[str, dict[str, str]] = json.loads((folder / NOTES).read_text())
    except (OSError, ValueError):
        return {}
    return noted


def _exists(report: str) -> bool:
    """Tell whether the server still has a report: one that was deleted is made anew."""
    import wandb
    from wandb_workspaces import _graphql
    from wandb_workspaces.reports.v2 import gql

    try:
        answer = _graphql.execute_graphql(wandb.Api(), gql.view_report, {"reportId": report})
    except Exception:  # Servers differ in what they raise; if none answers, saving will say so.
        return False
    return answer.get("view") is not None


def _block(block: Block, entity: str, project: str, address: str) -> Any:
    from wandb_workspaces.reports import v2

    if isinstance(block, ReportHeading):
        return (v2.H1, v2.H2, v2.H3)[block.level - 1](block.text)
    if isinstance(block, ReportTable):
        return v2.MarkdownBlock(table(block, address))
    if isinstance(block, Curves):
        return _grid(block, entity, project)
    return v2.MarkdownBlock(block.markdown)


def _grid(curves: Curves, entity: str, project: str) -> Any:
    """Plots of exactly the runs that are named; nothing is grouped by the server."""
    from wandb_workspaces.reports import v2

    runs = v2.Runset(
        entity=entity,
        project=project,
        name=curves.title,
        filters=f"Metric('ID') in {json.dumps(curves.runs)}",
    )
    return v2.PanelGrid(runsets=[runs], panels=[_plot(plot) for plot in curves.plots])


def _plot(plot: Plot) -> Any:
    from wandb_workspaces.reports import v2

    return v2.LinePlot(
        title=plot.title,
        x=plot.x,
        y=list(plot.y),
        log_x=plot.logarithmic,
        max_runs_to_show=MOST_RUNS,
    )
