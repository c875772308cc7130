"""Files and folders that are there whole or not at all.

Each is written under a hidden name beside its place, `.<name>.<token>.<process>`, and renamed into
it: a reader sees what was there before or all that is there now, and two writers never share one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


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
def atomic_folder(path: Path) -> Iterator[Path]:
    """Write a folder of files, as `atomic_write` does a file; the disk has them before `path` is.

    Yields:
        An empty folder to fill.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        beside.mkdir()
        yield beside
        for file in beside.iterdir():
            _sync(file)
        _replace_folder(beside, path)
    except OSError as error:
        _name(error, path)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _name(error: BaseException, path: Path) -> None:
    """Let an error of the system name what was to be written, not the hidden name or nothing."""
    if isinstance(error, OSError) and error.errno is not None:
        error.filename, error.filename2 = str(path), None


def _replace_folder(beside: Path, path: Path) -> None:
    """Rename a folder into its place, moving older ones out of the way, of other processes too."""
    moved = []
    while not _is_renamed(beside, path):
        moved.append(_beside(path))
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            path.rename(moved[-1])
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


def remove_stale(folder: Path) -> None:
    """Remove what processes that died left half-written in a folder."""
    for path in folder.glob(".*.*"):
        owner = path.name.rpartition(".")[2]
        if owner.isdigit() and not _is_alive(int(owner)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name that no other call gets; it ends in the number of the process that it belongs to."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{os.getpid()}")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
