"""Files and folders that are there whole or not at all.

Each is written under a hidden name beside its place, `.<name>.<token>.part`, and renamed into it: a
reader sees what was there before or all that is there now, and two writers never share one. What a
writer leaves that is killed is removed by who may write in its place next, and knows that nobody
else does (`remove_parts`), or when it has not been touched for a day (`remove_old_parts`).
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PART = ".part"
OLD = 86_400.0
"""Seconds after which nobody is writing any more what is half-written."""


@contextlib.contextmanager
def atomic_write(path: Path, sync: bool = False) -> Iterator[Path]:
    """Write a file: what lies at the path that this gives becomes `path` when the block ends.

    Args:
        path: Place of the file; its folder is made if need be. What is there is replaced.
        sync: Wait until the disk has it, so that a loss of power leaves no file that looks whole.
            Not needed where readers check a digest.

    Yields:
        Where to write. After an error nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        yield beside
        if sync:
            _sync(beside)
        beside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        _name(error, path)
        raise


@contextlib.contextmanager
def atomic_folder(path: Path, stays: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Write a folder of files, as `atomic_write` does a file; the disk has them before `path` is.

    Args:
        path: Place of the folder.
        stays: Whether a folder that is there already is to stay; none does unless given.

    Yields:
        An empty folder to fill.

    Raises:
        FileExistsError: There is a folder that is to stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        beside.mkdir()
        yield beside
        for file in beside.iterdir():
            _sync(file)
        _replace_folder(beside, path, stays or _never)
    except OSError as error:
        _name(error, path)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _never(_path: Path) -> bool:
    return False


def _name(error: BaseException, path: Path) -> None:
    """Let an error of the system name what was to be written, not the hidden name or nothing."""
    if isinstance(error, OSError) and error.errno is not None:
        error.filename, error.filename2 = str(path), None


def _replace_folder(beside: Path, path: Path, stays: Callable[[Path], bool]) -> None:
    """Rename a folder into its place, moving older ones out of the way, of other processes too."""
    moved = []
    while not _is_renamed(beside, path):
        if stays(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        moved.append(_beside(path))
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            path.rename(moved[-1])
            if stays(moved[-1]):  # It has come between the look and the move.
                _is_renamed(moved[-1], path)
    for old in moved:
        shutil.rmtree(old, ignore_errors=True)


def _is_renamed(beside: Path, path: Path) -> bool:
    """Rename a folder; tell whether there was none in its place: none replaces another."""
    try:
        beside.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def remove_parts(path: Path) -> None:
    """Remove what is half-written of a file or folder; nobody else may be writing it."""
    for part in path.parent.glob(f".{path.name}.*{PART}"):
        _remove(part)


def remove_old_parts(folder: Path) -> None:
    """Remove what is half-written in a folder and was not touched for a day."""
    parts = {part: _touched(part) for part in folder.glob(f".*{PART}")}
    limit = server_time(folder) - OLD if parts else 0.0
    for part, touched in parts.items():
        if touched < limit:
            _remove(part)


def server_time(folder: Path) -> float:
    """The time by the clock that sets the times of files; this host's where none can be written."""
    now = _beside(folder / "now")
    try:
        now.touch()
        return _touched(now)
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            now.unlink(missing_ok=True)


def _touched(path: Path) -> float:
    try:
        return path.stat().st_ctime  # Renaming changes it, too.
    except FileNotFoundError:  # It is in its place by now.
        return math.inf


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name that no other call gets."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
