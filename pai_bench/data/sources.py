"""Read a data set from a mirror, the hub or an installed library, and check what came out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pai_bench.config import Data
from pai_bench.data.locations import cached_file, mirror_folder
from pai_bench.errors import BenchError, first_line

TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Arrays:
    """A decoded data set: images uint8 (N, C, H, W), labels int64 (N,), both splits."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All four tensors by name."""
        return {name: getattr(self, name) for name in TENSORS}

    def digest(self) -> str:
        """SHA-256 over name, shape and bytes of the four tensors, as 64 hex digits."""
        hashed = hashlib.sha256()
        for name, tensor in self.tensors().items():
            hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            hashed.update(tensor.contiguous().numpy().data)
        return hashed.hexdigest()


def load(name: str, settings: Data, mirror: str | None = None) -> Arrays:
    """Return the decoded tensors of a data set whose digest is the pinned one.

    Tensors decoded before come from the cache, where they are checked again. Otherwise they are
    decoded from the first of: an installed library, the mirror folder, the hub.

    Raises BenchError when the data cannot be had, or are not what benchmark.yaml pins.
    """
    cached = cached_file(name, settings)
    arrays = _from_cache(cached)
    if arrays is not None and arrays.digest() == settings.digest:
        return arrays
    arrays, source = _decode(name, settings, mirror_folder(mirror))
    _check(name, settings, arrays, source)
    _to_cache(arrays, cached)
    return arrays


def _from_cache(path: Path) -> Arrays | None:
    try:
        return Arrays(**load_file(path))
    except (OSError, SafetensorError, TypeError):
        return None


def _to_cache(arrays: Arrays, path: Path) -> None:
    """Write beside and rename, so that a reader sees all or nothing; a full disk is no error."""
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays.tensors(), beside)
        beside.replace(path)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):
            beside.unlink()


def _decode(name: str, settings: Data, mirror: Path | None) -> tuple[Arrays, str]:
    if settings.hub is None:
        return _digits(), "scikit-learn"
    if mirror is not None:
        folder = mirror / (settings.folder or name)
        if not folder.is_dir():
            raise BenchError(
                f"data set {name}: the mirror has no folder {folder}; put the parquet files of "
                f"{settings.hub} there, or unset PAI_BENCH_MIRROR to read the hub"
            )
        with tempfile.TemporaryDirectory(prefix="pai-bench-") as scratch:
            tables = _mirror_splits(folder, settings, scratch)
            return _decode_tables(f"{name} in {folder}", settings, tables), str(folder)
    source = f"{settings.hub} at revision {settings.revision}"
    return _decode_tables(f"{name} from {source}", settings, _hub_splits(name, settings)), source


def _mirror_splits(folder: Path, settings: Data, scratch: str) -> Any:
    """Read parquet files; the reader's own copies go to `scratch`, ours are kept decoded."""
    from datasets import load_dataset

    _quiet_reader()
    files = {s: sorted(map(str, folder.rglob(f"{s}-*.parquet"))) for s in _splits(settings)}
    for split, found in files.items():
        if not found:
            raise BenchError(f"{folder}: no file {split}-*.parquet")
    try:
        return load_dataset("parquet", data_files=files, cache_dir=scratch)
    except Exception as error:
        raise BenchError(f"{folder}: cannot be read as parquet: {_cause(error)}") from error


def _hub_splits(name: str, settings: Data) -> Any:
    from datasets import load_dataset

    _quiet_reader()
    try:
        return load_dataset(settings.hub, revision=settings.revision)
    except Exception as error:
        raise BenchError(
            f"data set {name}: {settings.hub} could not be fetched from the hub "
            f"({type(error).__name__}: {_cause(error)}); without a connection, set "
            f"PAI_BENCH_MIRROR to a folder that holds {settings.folder or name}/*.parquet"
        ) from error


def _quiet_reader() -> None:
    """No progress bars of the reader's own: they would break up ours."""
    from datasets import disable_progress_bars

    disable_progress_bars()


def _decode_tables(source: str, settings: Data, tables: Any) -> Arrays:
    parts: dict[str, Tensor] = {}
    for role, split in zip(("train", "test"), _splits(settings), strict=True):
        try:
            table = tables[split].with_format(None)
            parts[f"{role}_images"] = _images(table[settings.image], settings.shape)
            parts[f"{role}_labels"] = torch.tensor(list(table[settings.label]), dtype=torch.int64)
        except Exception as error:
            raise BenchError(
                f"data set {source}, split {split}, cannot be decoded: "
                f"{type(error).__name__}: {_cause(error)}"
            ) from error
    return Arrays(**parts)


def _splits(settings: Data) -> tuple[str, str]:
    return settings.train, settings.test


def _images(pictures: Any, shape: tuple[int, int, int]) -> Tensor:
    """Stack decoded pictures to uint8 (N, C, H, W); grey among RGB ones get three channels."""
    mode = "L" if shape[0] == 1 else "RGB"
    pixels = np.stack([np.asarray(picture.convert(mode), dtype=np.uint8) for picture in pictures])
    tensor = torch.from_numpy(pixels)
    return tensor[:, None] if mode == "L" else tensor.permute(0, 3, 1, 2).contiguous()


def _digits() -> Arrays:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, 0..16; every fifth one is a test image."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    test = torch.arange(len(labels)) % 5 == 4
    return Arrays(images[~test], labels[~test], images[test], labels[test])


def _check(name: str, settings: Data, arrays: Arrays, source: str) -> None:
    """Compare sizes and digest with what benchmark.yaml pins."""
    for role, count in zip(("train", "test"), settings.images, strict=True):
        found = tuple(getattr(arrays, f"{role}_images").shape)
        if found != (count, *settings.shape):
            raise BenchError(
                f"data set {name} from {source}: {role} images are {found}, "
                f"benchmark.yaml says {(count, *settings.shape)}"
            )
    if arrays.digest() != settings.digest:
        raise BenchError(
            f"data set {name} from {source}: the decoded tensors have digest {arrays.digest()}, "
            f"benchmark.yaml pins {settings.digest}; not trained on"
        )


def _cause(error: BaseException) -> str:
    """First line of what an error says, of its cause where it has one."""
    return first_line(error.__cause__ or error)
