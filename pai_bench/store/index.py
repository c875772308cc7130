"""An index of a suite's folder of results: what tables and pages need of thousands of cells.

    runs/<suite>/.index.jsonl     a line about what cells share, then two for each cell: what tables
                                  need of it, and its line of the page

Derived from the cells' files alone, and never evidence: it can be deleted at any time. What it says
of a cell counts only while the cell's files are those that it was read from (by inode, size and
times of change), and only for the program that wrote it; other cells are read from their files. It
is replaced whole, so that processes that write it at once cannot break it, and has a checksum: one
that is damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pai_bench.core.errors import BenchError
from pai_bench.core.files import atomic_write
from pai_bench.experiment.cell import Cell
from pai_bench.store.result import Numbers
from pai_bench.store.stored_result import (
    State,
    StoredResult,
    has_result,
    parse_json,
    read_stored,
    state_of,
)

NAME = ".index.jsonl"
_JSON = json.JSONEncoder(separators=(",", ":"))
WORTH_WRITING = 100
"""Cells, or lines of a page, that were made anew: fewer are made again sooner than written."""


class Line(NamedTuple):
    """One cell on a page as text, and the digests of the shared records that it names, by kind."""

    text: str
    shared: Mapping[str, str]


class Index:
    """What a folder of results holds, as of the last `update`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.entries: dict[str, StoredResult] = {}
        """By id, in the order of ids: all cells that can be read."""
        self.unreadable: dict[str, BenchError] = {}
        self.lines: dict[str, Line] = {}
        """By id: lines of a page, each made from the entry of today."""
        self.records: dict[str, Any] = {}
        """What lines name, by digest."""
        self._made_for = ""
        self._new = 0

    def update(self) -> None:
        """Read what has changed since the last time; all that has not stays the same object."""
        before, self.entries, self.unreadable = self.entries, {}, {}
        for cell_id, state in _states(self.folder):
            entry = before.get(cell_id)
            if entry is None or entry.state != state:
                self.lines.pop(cell_id, None)
                try:
                    entry = read_stored(f"{self.folder}/{cell_id}")
                    self._new += 1
                except BenchError as error:
                    self.unreadable[cell_id] = error
                    continue
            self.entries[cell_id] = entry
        self.lines = {key: line for key, line in self.lines.items() if key in self.entries}

    def get(self, cell_id: str) -> StoredResult | None:
        """One cell, if it is there. Raises BenchError where it cannot be read."""
        if cell_id in self.unreadable:
            raise self.unreadable[cell_id]
        return self.entries.get(cell_id)

    def lines_for(self, reader: str) -> dict[str, Line]:
        """Lines that were made for `reader`: where it is another than before, there are none."""
        if reader != self._made_for:
            self.lines, self.records, self._made_for = {}, {}, reader
        return self.lines

    def keep_line(self, cell_id: str, line: Line) -> None:
        """Add a line."""
        self.lines[cell_id] = line
        self._new += 1

    def load(self) -> None:
        """Take over what is written; nothing, where that is damaged or of another program."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            written = Path(self.folder, NAME).read_bytes()
            start = written.index(b"\n") + 1
            content = memoryview(written)[start:]  # megabytes, that are not copied
            if int(written[:start]) == zlib.crc32(content):
                about, *lines = str(content, "ascii").split("\n")
                self._fill(parse_json(about), lines)

    def _fill(self, about: Mapping[str, Any], lines: list[str]) -> None:
        if about["program"] != program():
            return
        kinds = [_shared_fields(Cell.from_resolved(fields)) for fields in about["kinds"]]
        shared, self.records = about["shared"], about["records"]
        self._made_for = about["made_for"]
        rows = parse_json(f"[{','.join(lines[::2])}]")  # at once, in half the time of one by one
        for row, text in zip(rows, lines[1::2], strict=True):
            cell_id, state, kind, names, *of_cell = row[:_NUMBERS]
            cell = _cell(kinds[kind], *of_cell)
            numbers = Numbers(*row[_NUMBERS:])
            self.entries[cell_id] = StoredResult(f"{self.folder}/{cell_id}", cell, numbers, state)
            if text:
                self.lines[cell_id] = Line(text, shared[names])

    def save(self) -> None:
        """Write the index where that is worth it; a folder that cannot be written has none."""
        if self._new < WORTH_WRITING:
            return
        self._new = 0
        content = "\n".join(self._content()).encode("ascii")
        with contextlib.suppress(OSError), atomic_write(Path(self.folder, NAME)) as beside:
            beside.write_bytes(b"%d\n%s" % (zlib.crc32(content), content))

    def _content(self) -> list[str]:
        kinds, shared = _Numbered(), _Numbered()
        rows = []
        for cell_id, entry in self.entries.items():
            cell, line = entry.cell, self.lines.get(cell_id)
            kind = kinds.number(cell.kind, cell)
            names = shared.number(tuple(line.shared.items()), line.shared) if line else None
            row = [cell_id, entry.state, kind, names, *_fields(cell), *entry.numbers]
            rows += [_JSON.encode(row), line.text if line else ""]
        about = {
            "program": program(),
            "made_for": self._made_for,
            "records": self.records,
            "shared": shared.values,
            "kinds": [cell.resolved() for cell in kinds.values],
        }
        return [_JSON.encode(about), *rows]


class _Numbered:
    """Numbers for what many have in common."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, value: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


_NUMBERS = 11
"""Where in a row the numbers of the result begin. Rows are flat: a list in each of thousands costs
the reader more than what is in it."""


def _fields(cell: Cell) -> list[Any]:
    """What is a cell's own; the rest is in its kind."""
    hyper = cell.hyper or None
    return [cell.id, cell.method, cell.density, cell.seed, hyper, cell.method_version,
            cell.sanity_check]  # fmt: skip


_NONE: Mapping[str, Any] = {}


def _shared_fields(like: Cell) -> dict[str, Any]:
    """Fields of any cell of a kind; those that are a cell's own are replaced."""
    return {**{field: getattr(like, field) for field in Cell.__dataclass_fields__},
            "kind": like.kind}  # fmt: skip


def _cell(
    shared: Mapping[str, Any],
    cell_id: str,
    method: str,
    density: float,
    seed: int,
    hyper: Mapping[str, Any] | None,
    version: int,
    sanity_check: str,
) -> Cell:
    """Restore a cell. Setting frozen fields one by one, and hashing, takes longer than the rest."""
    cell = Cell.__new__(Cell)
    vars(cell).update(
        shared,
        id=cell_id,
        method=method,
        density=density,
        seed=seed,
        hyper=hyper or _NONE,
        method_version=version,
        sanity_check=sanity_check,
    )
    return cell


_OPENED: dict[str, Index] = {}
"""The indexes of this process, by folder."""


def updated_index(folder: Path) -> Index:
    """The index of a folder as of now."""
    index = opened_index(str(folder))
    if index is None:
        index = _OPENED[str(folder)] = Index(str(folder))
        index.load()
    index.update()
    index.save()
    return index


def opened_index(folder: str) -> Index | None:
    """The index that this process has of a folder, as it was last updated."""
    return _OPENED.get(folder)


def clear_cache() -> None:
    """Close all indexes, as a new process has none."""
    _OPENED.clear()


def _states(folder: str) -> Iterator[tuple[str, State]]:
    """Ids of all cells with a result, in order, and the state of their files."""
    names = cell_ids(folder)
    if not names:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for cell_id in names:
            state = state_of(cell_id, descriptor)
            if has_result(state):
                yield cell_id, state
    finally:
        os.close(descriptor)


def cell_ids(folder: str) -> list[str]:
    """Ids of all cells with a result, in order."""
    return sorted(_cell_ids(folder))


def _cell_ids(folder: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if _is_id(entry.name))


def _is_id(name: str) -> bool:
    return len(name) == 12 and not name.strip("0123456789abcdef")


@cache
def program() -> str:
    """Digest of the sources: what another version of them wrote is not trusted."""
    package = Path(__file__).parents[1]
    sources = [path for depth in ("", "*/", "*/*/") for path in package.glob(f"{depth}*.py")]
    digests = (hashlib.sha256(path.read_bytes()).digest() for path in sorted(sources))
    return hashlib.sha256(b"".join(digests)).hexdigest()
