"""What the job of a bundle tells the process that submitted it: lines in a file that both see.

The two may be on different machines, and either may end and come back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.events import Event, Finished, PutOff, Rejected, Started, Stopped
from pai_bench.training.progress import CurvePoint, Progress

PACE = 0.5
"""Seconds between two lines that tell of progress, at least: the file may lie on a server."""


def path(folder: Path, bundle: Bundle) -> Path:
    """Path of the journal of a bundle that was submitted with a folder."""
    return folder / f"{bundle.id}.jsonl"


class JournalWriter:
    """Writes the events of a bundle; what is written is there when the call returns."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, 0.0
        self._held_back: tuple[CurvePoint, ...] = ()

    def tell(self, event: Event) -> None:
        """Write an event; what comes too soon of progress is left out, but for its points."""
        if isinstance(event, Progress):
            event = replace(event, points=(*self._held_back, *event.points))
            self._held_back = event.points
            if time.monotonic() - self._last < PACE:
                return
            self._last, self._held_back = time.monotonic(), ()
        line = json.dumps(_encoded(event)) + "\n"
        with self._path.open("ab") as file:
            file.write(line.encode())


class JournalReader:
    """Reads what has been written since it last looked.

    Args:
        path: The file, which may not be there yet.
        bundle: What its events are of; cells that are not in it are passed over.
    """

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self._path, self._bundle, self._offset = path, bundle, 0

    def events(self) -> Iterator[Event]:
        """Yield the new events, in their order."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._offset += len(whole) + len(newline)
        for line in whole.splitlines():
            event = _decoded(json.loads(line), self._bundle)
            if event is not None:
                yield event


def _encoded(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": type(event).__name__}
    if isinstance(event, Progress):
        points = [asdict(point) for point in event.points]
        said = {"epoch": event.epoch, "epochs": event.epochs, "message": event.message}
        return {**fields, **said, "points": points}
    if isinstance(event, Finished):
        said = {"status": event.status, "reason": event.reason, "by_others": event.by_others}
        return {**fields, "cell": event.cell.id, **said}
    if isinstance(event, PutOff):
        return {**fields, "cells": [cell.id for cell in event.cells]}
    return {**fields, "reason": event.reason} if isinstance(event, Rejected) else fields


def _decoded(fields: dict[str, Any], bundle: Bundle) -> Event | None:
    kind = fields.pop("event")
    if kind == "Finished":
        cell_id = fields.pop("cell")
        cell = next((cell for cell in bundle if cell.id == cell_id), None)
        return None if cell is None else Finished(cell, **fields)
    if kind == "PutOff":
        return PutOff(bundle, tuple(cell for cell in bundle if cell.id in fields["cells"]))
    if kind == "Progress":
        fields["points"] = tuple(CurvePoint(**point) for point in fields.get("points", ()))
    kinds = {"Started": Started, "Progress": Progress, "Rejected": Rejected, "Stopped": Stopped}
    event: Event = kinds[kind](bundle, **fields)
    return event
