"""Where checkpoints of unfinished trainings lie, and which cells they are of.

    runs/checkpoints/<bundle id>.ckpt     the Trainer's checkpoint (training/checkpoint.py)
                     <bundle id>.json     ids of the cells, where they are several

Who goes on with what another process began has to train the same cells together: the next plan is
made with the second file, whatever else it bundles.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Container, Mapping
from pathlib import Path

from pai_bench.core.files import atomic_write
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell

FOLDER = "checkpoints"


def path(runs: Path, bundle: Bundle) -> Path:
    """Path of the checkpoint of a bundle."""
    return runs / FOLDER / f"{bundle.id}.ckpt"


def note_cells(runs: Path, bundle: Bundle) -> None:
    """Write down which cells the checkpoint of a bundle is of."""
    place = path(runs, bundle).with_suffix(".json")
    if len(bundle) > 1 and not place.is_file():
        with atomic_write(place) as beside:
            beside.write_text(json.dumps([cell.id for cell in bundle]), encoding="ascii")


def begun(runs: Path, cells: Mapping[str, Cell]) -> list[Bundle]:
    """List the bundles of several cells, all of them of `cells` (by id), that have a checkpoint."""
    return [
        Bundle(tuple(cells[cell_id] for cell_id in ids))
        for ids in _stored(runs).values()
        if len(ids) > 1 and all(cell_id in cells for cell_id in ids)
    ]


def last_written(runs: Path) -> dict[str, float]:
    """When the checkpoint of each cell was written, alone or with others, by the server's clock."""
    written: dict[str, float] = {}
    for place, ids in _stored(runs).items():
        with contextlib.suppress(FileNotFoundError):
            written |= dict.fromkeys(ids, place.stat().st_mtime)
    return written


def forget(runs: Path, finished: Container[str]) -> None:
    """Remove checkpoints of cells that all have results: who wrote them had been taken over."""
    for place, ids in _stored(runs).items():
        if all(cell_id in finished for cell_id in ids):
            place.unlink(missing_ok=True)
            place.with_suffix(".json").unlink(missing_ok=True)
    _remove_empty(runs)


def _stored(runs: Path) -> dict[Path, list[str]]:
    """Ids of the cells of each checkpoint."""
    found = {}
    for place in sorted((runs / FOLDER).glob("[0-9a-f]*.ckpt")):
        found[place] = [place.stem]
        with contextlib.suppress(FileNotFoundError, ValueError):
            found[place] = list(json.loads(place.with_suffix(".json").read_bytes()))
    return found


def discard(runs: Path, bundle: Bundle) -> None:
    """Remove the checkpoint of a finished bundle, and partly written ones."""
    for file in (runs / FOLDER).glob(f"*{bundle.id}.*"):
        file.unlink(missing_ok=True)
    _remove_empty(runs)


def _remove_empty(runs: Path) -> None:
    with contextlib.suppress(OSError):
        (runs / FOLDER).rmdir()  # Only an empty folder can be removed.
