"""W&B's client as the mirror and live runs use it: silent, without prompts, beside our results."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import first_line
from pai_bench.core.files import atomic_write
from pai_bench.core.redact import redact_text
from pai_bench.leaderboard.wandb.runs import RunData

PATIENCE = 60.0
"""Seconds without a word after which a process that talks to W&B is given up."""
REACH = 15.0
"""Seconds of trying to reach the server."""


def quieten(folder: Path, log: str) -> None:
    """Let the client of this process write to a log in `folder`, and nowhere else.

    Raises:
        OSError: The folder cannot be made.
    """
    os.environ["WANDB_SILENT"] = "true"
    # Files of artifacts wait here for `wandb sync`, beside the runs that they belong to.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder.resolve()))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / log).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def logged_in() -> bool:
    """Tell whether W&B has credentials on this machine, without asking for any."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def opened(run: RunData, settings: Benchmark, mode: str, folder: Path, reach: float) -> Any:
    """Open a run, in place of one of the same id that was written before.

    Args:
        run: What it is; of its content only the configuration is written.
        settings: Project and entity.
        mode: Of the client: online or offline.
        folder: Where the client keeps what it writes.
        reach: Seconds of trying to reach the server.
    """
    import wandb

    live = wandb.init(
        project=settings.wandb.project,
        entity=settings.wandb.entity,
        id=run.id,
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        tags=list(run.tags),
        notes=run.notes,
        config=dict(run.config),
        mode=mode,  # type: ignore[arg-type]
        dir=str(folder),
        reinit="create_new",
        settings=wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True,
            disable_git=True, disable_code=True, init_timeout=reach,
        ),
    )  # fmt: skip
    live.define_metric(run.step, hidden=True)
    live.define_metric("*", step_metric=run.step)
    return live


def problem_of(error: Exception) -> str:
    """Say in one line, without keys, what the client raised."""
    return redact_text(f"{type(error).__name__}: {first_line(error)}")


def read_notes(folder: Path, mode: str) -> dict[str, str]:
    """Read which content (digest) of which run (id) was written in a mode."""
    try:
        noted: dict[str, str] = json.loads(_notes(folder, mode).read_text())
    except (OSError, ValueError):
        return {}
    return noted


def write_notes(folder: Path, mode: str, noted: Mapping[str, str]) -> None:
    """Note which content of which run was written."""
    with atomic_write(_notes(folder, mode)) as beside:
        beside.write_text(json.dumps(noted, indent=1))


def _notes(folder: Path, mode: str) -> Path:
    return folder / f"mirrored-{mode}.json"
