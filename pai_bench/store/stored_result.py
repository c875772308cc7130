"""One stored cell, and reading its files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from pai_bench.core.errors import BenchError, first_line
from pai_bench.experiment.cell import Cell
from pai_bench.store.integrity import DIGEST, check_accuracy, check_file, check_record
from pai_bench.store.result import Numbers, Result

if TYPE_CHECKING:
    from pai_bench.sparsity.masks import Masks

CELL, RESULT, CURVES, MASKS = "cell.json", "result.json", "curves.json", "masks.safetensors"
Curves = Mapping[str, list[float]]
State = str
"""Inode, size and time of change of each JSON file of a cell: nothing where one lacks."""


@dataclass(eq=False, slots=True)
class StoredResult:
    """One stored cell. What tables need of thousands is at hand; the rest is read when asked for.

    Paths are text: to make a `Path` takes as long as to read a file.
    """

    path: str
    cell: Cell
    numbers: Numbers
    state: State = field(repr=False)
    """Tells whether the files are those that this was read from."""
    read: Result | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(self.path)

    @property
    def result(self) -> Result:
        """The whole record. Raises BenchError where it has become unreadable."""
        if self.read is None:
            self.read = _result(self.path, read_record(self.path))
        return self.read

    def curves(self) -> Curves:
        """Training loss, test loss and test accuracy, one value per epoch."""
        path = f"{self.path}/{CURVES}"
        try:
            return _curves().validate_python(read_json(path)) if isfile(path) else {}
        except ValueError as error:
            raise _other_version(path, error) from error

    def masks(self) -> Masks:
        """The masks at the end of training."""
        from pai_bench.sparsity.masks import Masks

        return Masks.load(self.folder / MASKS)


def read_stored(path: str) -> StoredResult:
    """Read a cell's folder, and check it against its digests, all but the masks.

    Raises:
        BenchError: It is absent, unreadable, of another format, or altered since it was written.
    """
    state = state_of(path)  # before the files: what changes meanwhile is read again next time
    content = read_bytes(f"{path}/{CELL}")
    fields, record = _parsed(f"{path}/{CELL}", content), read_record(path)
    result = _result(path, record)
    try:
        cell = Cell.from_resolved(fields["cell"])
        check_file(f"{path}/{CELL}", record, content)
        if CURVES in record["files"]:
            _check_curves(f"{path}/{CURVES}", record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _other_version(path, error) from error
    return StoredResult(path, cell, result.numbers, state, result)


def _check_curves(path: str, record: Mapping[str, Any]) -> None:
    content = read_bytes(path)
    check_file(path, record, content)
    if DIGEST not in record:
        check_accuracy(path.rpartition("/")[0], record, _parsed(path, content))


def state_of(path: str, folder: int | None = None) -> State:
    """State of the files in a cell's folder, now.

    `folder` is the descriptor of an open folder that `path` is relative to: of thousands of cells,
    looking up the whole path each time is a third of the work.
    """
    return " ".join(_state(f"{path}/{name}", folder) for name in (RESULT, CELL, CURVES))


def _state(path: str, folder: int | None) -> str:
    try:
        status = os.stat(path, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    # The last is the one that nobody can set back.
    return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"


@cache
def _curves() -> TypeAdapter[Any]:
    return TypeAdapter(dict[str, list[float | None]])


def has_result(state: State) -> bool:
    """Tell whether there is a result among the files."""
    return not state.startswith(" ")


def read_record(path: str) -> dict[str, Any]:
    """Read the record of a cell's result.

    Raises:
        BenchError: It is absent, unreadable, of another format, or altered since it was written.
    """
    record: dict[str, Any] = read_json(f"{path}/{RESULT}")
    try:
        check_record(path, record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _other_version(path, error) from error
    return record


def _result(path: str, record: Mapping[str, Any]) -> Result:
    try:
        return Result.from_json(record["result"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _other_version(path, error) from error


def _other_version(path: str, error: Exception) -> BenchError:
    return BenchError(f"{path}: written by another version of PaI-Bench: {first_line(error)}")


def read_json(path: str, advice: str = "") -> Any:
    """Read a JSON file of a cell, or another.

    Args:
        path: The file.
        advice: What to do where it cannot be read; to remove the cell's folder unless given.

    Raises:
        BenchError: It cannot be read.
    """
    return _parsed(path, read_bytes(path, advice), advice)


def read_bytes(path: str, advice: str = "") -> bytes:
    """Read a file as `read_json` does. Raises BenchError where it is absent."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise _unreadable(path, error, advice) from error


def _parsed(path: str, content: bytes, advice: str = "") -> Any:
    try:
        return parse_json(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error, advice) from error


def _unreadable(path: str, error: Exception, advice: str) -> BenchError:
    advice = advice or f"remove the folder {Path(path).parent} to run it again"
    return BenchError(f"{path}: cannot be read ({first_line(error)}); {advice}")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON, without the NaN and Infinity that Python's adds. Raises ValueError."""
    try:
        return from_json(text, allow_inf_nan=False)  # three times as fast as `json.loads`
    except ValueError:
        # Takes half surrogates too: a file's name in a reason may have one.
        return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
