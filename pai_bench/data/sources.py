"""Read a data set from a mirror, the hub or an installed library, and check what came out."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pai_bench.config.schema import Data
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.files import atomic_write
from pai_bench.core.machine import MachineFault
from pai_bench.data import files, text
from pai_bench.data.locations import cached_file, digest_file, first_digest
from pai_bench.data.split_files import Files

TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Arrays:
    """A decoded data set: images uint8 (N, C, H, W), labels int64 (N,), both splits.

    Of text, symbols uint8 (N, 1, 1, L), and for labels the symbols that follow, uint8 (N, L).
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    source: str = ""
    """Where the files came from, in words."""

    def tensors(self) -> dict[str, Tensor]:
        """All four tensors by name."""
        return {name: getattr(self, name) for name in TENSORS}

    @cached_property
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
    decoded from the first of: an installed library, the mirror folder, the hub. Where
    benchmark.yaml pins no digest, that of the hub's tensors that this machine saw first is kept in
    the cache folder, and pins them from then on; files are checked too (see `files.find`).

    Raises BenchError when the data cannot be had, or are not what is pinned.
    """
    cached = cached_file(name, settings)
    arrays = _from_cache(cached, settings.digest or first_digest(name, settings))
    if arrays is None:
        arrays = _fresh(name, settings, mirror)
        _check(name, settings, arrays)
        _to_cache(arrays, cached)
    _keep_first(name, settings, arrays.digest)
    return arrays


def _keep_first(name: str, settings: Data, digest: str) -> None:
    """Write down the digest of what was seen for the first time; a full disk is no error."""
    if settings.digest or settings.hub is None or first_digest(name, settings):
        return
    with contextlib.suppress(OSError), atomic_write(digest_file(name, settings)) as beside:
        beside.write_text(f"{digest}\n", encoding="utf-8")


def _fresh(name: str, settings: Data, mirror: str | None) -> Arrays:
    if settings.load is not None:
        return _of_plugin(name, settings.load)
    if settings.hub is None:
        return _digits()
    source = files.find(name, settings, mirror)
    return _decode(name, settings, source) if settings.text is None else _text(settings, source)


def _of_plugin(name: str, target: str) -> Arrays:
    """Call the function of a plugin that returns ((images, labels), (images, labels))."""
    try:
        parts = [
            torch.as_tensor(part) for split in import_utils.resolve(target)() for part in split
        ]
        kinds = [part.dtype for part in parts]
        if len(parts) != 4 or kinds[0] != torch.uint8 or kinds[2] != torch.uint8:
            raise TypeError(f"must return (images, labels) twice, images uint8; got {kinds}")
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise BenchError(f"data set {name} from {target}: {problem}") from error
    images, labels = parts[0::2], [part.long() for part in parts[1::2]]
    return Arrays(images[0], labels[0], images[1], labels[1], target)


def _from_cache(path: Path, pinned: str | None) -> Arrays | None:
    """Read the cache; what is damaged is named, and decoded again."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            parts = {name: file.get_tensor(name) for name in TENSORS}
        arrays = Arrays(**parts, source=metadata.get("source", ""))
        if arrays.digest == (pinned or metadata.get("digest")):
            return arrays
        problem = f"its tensors have digest {arrays.digest[:16]}…"
    except (OSError, SafetensorError) as error:
        problem = first_line(error)
    print(f"pai-bench: {path} is damaged ({problem}); decoding the data again", file=sys.stderr)
    return None


def _to_cache(arrays: Arrays, path: Path) -> None:
    """Write the cache; a full disk is no error."""
    about = {"digest": arrays.digest, "source": arrays.source}
    with contextlib.suppress(OSError, SafetensorError), atomic_write(path) as beside:
        save_file(arrays.tensors(), beside, metadata=about)


def _text(settings: Data, source: Files) -> Arrays:
    """Cut the text of both splits into sequences, as many as benchmark.yaml says."""
    assert settings.text is not None
    parts: dict[str, Tensor] = {}
    for (role, paths), count in zip(source.splits().items(), settings.images, strict=True):
        sequences = text.sequences(paths, settings.text, count, settings.shape[2])
        parts[f"{role}_images"], parts[f"{role}_labels"] = sequences
    return Arrays(**parts, source=source.source)


def _decode(name: str, settings: Data, source: Files) -> Arrays:
    """Decode the files with the hub's own reader; its copies go to a scratch folder."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()  # They would break up ours.
    paths = {role: [str(path) for path in split] for role, split in source.splits().items()}
    parts: dict[str, Tensor] = {}
    with tempfile.TemporaryDirectory(prefix="pai-bench-") as scratch:
        for role, split in paths.items():
            try:
                table = load_dataset("parquet", data_files=split, split="train", cache_dir=scratch)
                parts[f"{role}_images"] = _images(table[settings.image], settings.shape)
                parts[f"{role}_labels"] = torch.tensor(list(table[settings.label]))
            except Exception as error:
                raise BenchError(
                    f"data set {name} from {source.source}, {role} files, cannot be decoded: "
                    f"{type(error).__name__}: {_cause(error)}"
                ) from error
    return Arrays(**parts, source=source.source)


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
    return Arrays(images[~test], labels[~test], images[test], labels[test], "scikit-learn")


def _check(name: str, settings: Data, arrays: Arrays) -> None:
    """Compare sizes and digest with what benchmark.yaml pins.

    Raises:
        BenchError: They are of other sizes.
        MachineFault: They are other data, for which no method is to blame: no cell fails by it.
    """
    for role, count in zip(("train", "test"), settings.images, strict=True):
        shape = tuple(getattr(arrays, f"{role}_images").shape)
        if shape != (count, *settings.shape):
            raise BenchError(
                f"data set {name} from {arrays.source}: {role} images are {shape}, "
                f"benchmark.yaml says {(count, *settings.shape)}"
            )
        labels = getattr(arrays, f"{role}_labels")
        if int(labels.min()) < 0 or int(labels.max()) >= settings.classes:
            raise BenchError(
                f"data set {name} from {arrays.source}: {role} labels go from {labels.min()} to "
                f"{labels.max()}, benchmark.yaml says {settings.classes} classes"
            )
    if settings.digest is not None and arrays.digest != settings.digest:
        raise MachineFault(
            f"data set {name} from {arrays.source}: the decoded tensors have digest "
            f"{arrays.digest}, benchmark.yaml pins {settings.digest}; not trained on"
        )
    first = first_digest(name, settings)
    if settings.digest is None and first not in (None, arrays.digest):
        raise MachineFault(
            f"data set {name} from {arrays.source}: the decoded tensors have digest "
            f"{arrays.digest}, this machine saw {first} first; not trained on (if they are meant "
            f"to be others, delete {digest_file(name, settings)})"
        )


def _cause(error: BaseException) -> str:
    """First line of what an error says, of its cause where it has one."""
    return first_line(error.__cause__ or error)
