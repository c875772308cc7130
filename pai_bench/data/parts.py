"""Files of a mirror in parts, for machines that are reached by small transfers.

    mnist/SHA256SUMS                                     of the whole files, as in any mirror
          SHA256SUMS.parts                               of the parts
          mnist/train-00000-of-00001.parquet.part-000    and so on

`sha256sum -c SHA256SUMS.parts` checks a transfer where there is nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pai_bench.core.errors import BenchError
from pai_bench.core.files import atomic_write
from pai_bench.data.digests import BLOCK, MANIFEST, read_digests, sha256

PARTS = f"{MANIFEST}.parts"
_PART = re.compile(r"(.+)\.part-\d{3}")
_MOST = 1000


def has_parts(folder: Path) -> bool:
    """Tell whether the files of a data set lie in a folder in parts."""
    return (folder / PARTS).is_file()


def split(path: Path, target: Path, size: int) -> list[Path]:
    """Write a file as parts of at most `size` bytes, beside where it would be; list them.

    Raises BenchError where that takes more than a thousand.
    """
    length = path.stat().st_size
    if length > _MOST * size:
        raise BenchError(f"{path}: {length:,} bytes are more than {_MOST} parts of {size:,}")
    written = []
    with path.open("rb") as whole:
        for number in range(max(1, -(-length // size))):
            part = target.with_name(f"{target.name}.part-{number:03}")
            with atomic_write(part) as beside, beside.open("wb") as file:
                left = size
                while left and (block := whole.read(min(BLOCK, left))):
                    left -= file.write(block)
            written.append(part)
    return written


def write_digests(folder: Path, parts: Sequence[Path]) -> Path:
    """List the digests of parts; return the list's path."""
    lines = [f"{sha256(part)}  {part.relative_to(folder).as_posix()}\n" for part in parts]
    (folder / PARTS).write_text("".join(lines), encoding="utf-8")
    return folder / PARTS


def join(source: Path, target: Path) -> list[Path]:
    """Join the files of all data sets that lie in a folder in parts; the parts stay.

    Files that are there already, whole, are not written again.

    Returns:
        The files.

    Raises:
        BenchError: There are none, a part is missing, or a part or file is not what was written.
    """
    folders = [path.parent for path in sorted(source.glob(f"*/{PARTS}"))]
    if not folders:
        raise BenchError(f"{source}: no folder in it has a {PARTS}: nothing to import")
    joined: list[Path] = []
    for folder in folders:
        for path in _join_all(folder, target / folder.name):
            joined.append(path)
    return joined


def _join_all(folder: Path, target: Path) -> Iterator[Path]:
    wholes, of_parts = read_digests(folder / MANIFEST), read_digests(folder / PARTS) or {}
    if wholes is None:
        raise BenchError(f"{folder}: has no {MANIFEST}; bring it over too")
    _check_parts(folder, of_parts)
    for name, digest in wholes.items():
        path = target / name
        if not (path.is_file() and sha256(path) == digest):
            own = [part for part in sorted(of_parts) if _whole_of(part) == name]
            _join(path, [folder / part for part in own], digest)
        yield path
    if target != folder:
        (target / MANIFEST).write_bytes((folder / MANIFEST).read_bytes())


def _whole_of(part: str) -> str:
    match = _PART.fullmatch(part)
    return match[1] if match else ""


def _check_parts(folder: Path, digests: dict[str, str]) -> None:
    """Check all parts before any is joined."""
    missing = [part for part in digests if not (folder / part).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        raise BenchError(f"{folder / missing[0]}: missing{more}; bring it over, then import again")
    for part, digest in digests.items():
        if (found := sha256(folder / part)) != digest:
            raise BenchError(
                f"{folder / part}: SHA-256 is {found[:16]}…, {PARTS} says {digest[:16]}…: bring "
                "it over again"
            )


def _join(path: Path, parts: Sequence[Path], digest: str) -> None:
    with atomic_write(path) as beside:
        with beside.open("wb") as whole:
            for part in parts:
                with part.open("rb") as file:
                    while block := file.read(BLOCK):
                        whole.write(block)
        if sha256(beside) != digest:
            raise BenchError(f"{path}: its parts do not make what {MANIFEST} lists; export again")
