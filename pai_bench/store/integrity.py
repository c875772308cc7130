"""Whether a stored cell is what was written: digests of its files, and of the record of them.

`result.json` holds the SHA-256 of each file beside it and, over all else that it holds, one of its
own. Who alters a number by hand, or mixes files of two runs, leaves a digest that does not fit. It
is no signature: who computes the digests anew is not found out, and only training again tells
(`pai-bench verify --rerun`).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pai_bench.core.errors import BenchError, first_line
from pai_bench.store.result import Status

DIGEST = "digest"
"""Key of the record's own digest. Records of older versions have none."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class Altered(BenchError):
    """A stored cell is not what was written."""


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its own digest."""
    return {**record, DIGEST: record_digest(record)}


def record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record as canonical JSON, without the digest that it may hold."""
    content = {key: value for key, value in record.items() if key != DIGEST}
    return sha256(_CANONICAL.encode(content).encode())


def sha256(content: bytes) -> str:
    """SHA-256 as hex digits."""
    return hashlib.sha256(content).hexdigest()


def check_archive(path: Path) -> None:
    """Read a file of `torch.save` through: its parts have checksums, which torch does not look at.

    Raises:
        ValueError: It is damaged.
        OSError: It is not there, or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # zipfile has several kinds, by what of the archive is damaged
        raise ValueError(f"damaged: {first_line(error)}") from error
    if part is not None:
        raise ValueError(f"damaged: {part}")


def check_record(path: str, record: Mapping[str, Any]) -> None:
    """Raise Altered where a record is not what was written, or lies under another cell's id.

    Args:
        path: The cell's folder; its name is the id.
        record: What its `result.json` holds. One without a digest of its own is let through.

    Raises:
        ValueError: It is of another format; or KeyError, TypeError, AttributeError.
    """
    if DIGEST in record and record[DIGEST] != record_digest(record):
        raise altered(f"{path}/result.json: altered since it was written")
    if record["result"]["status"] not in get_args(Status):
        raise ValueError(f"no status: {record['result']['status']!r}")
    if record["id"] != path.rpartition("/")[2]:
        raise altered(f"{path}/result.json: is of the cell {record['id']}")


def check_file(path: str, record: Mapping[str, Any], content: bytes) -> None:
    """Raise Altered where `content`, of the file at `path`, is not what `record` was made with."""
    if record["files"].get(path.rpartition("/")[2]) != sha256(content):
        raise altered(f"{path}: altered since it was written")


def check_accuracy(path: str, record: Mapping[str, Any], curves: Mapping[str, Any]) -> None:
    """Raise Altered where a record's accuracy is not that of the cell's curves.

    It is what can be said of a record without a digest of its own.
    """
    accuracy, points = record["result"].get("accuracy"), curves.get("test_accuracy")
    if accuracy and points and [accuracy["last"], accuracy["best"]] != [points[-1], max(points)]:
        raise altered(f"{path}/result.json: its accuracy is not that of its curves")


def altered(problem: str) -> Altered:
    """Build the error, with what to do about it."""
    folder = Path(problem.partition(": ")[0]).parent
    return Altered(f"{problem}; remove the folder {folder} to run it again")
