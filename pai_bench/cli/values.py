"""Values of options, read from what was typed; what is none is an error of one line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

from pai_bench.config import schema
from pai_bench.core.errors import did_you_mean


def count_of(what: str) -> Callable[[str], int]:
    """Read a whole number above 0; `what` it counts is named where it is none."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
            raise argparse.ArgumentTypeError(f"not a number of {what}: {text!r}")
        return int(text)

    return parse


def size(text: str) -> int:
    """Read a number of bytes."""
    match = re.fullmatch(r"([1-9]\d{0,8})([kMG])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"not a size as 500k, 60M or 2G: {text!r}")
    return int(match[1]) * {"k": 10**3, "M": 10**6, "G": 10**9}[match[2]]


def seconds(text: str) -> float:
    """Read a time."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    total = sum(int(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True)
                  ) if match else 0  # fmt: skip
    if not total:
        raise argparse.ArgumentTypeError(f"not a time as 90s, 9m or 1h30m: {text!r}")
    return float(total)


def gpus(text: str) -> tuple[int, ...]:
    """Read numbers of GPUs."""
    return tuple(map(count_of("GPUs"), names(text)))


def stack(text: str) -> Any:
    """Read how many networks are stacked."""
    if text in ("auto", "off"):
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not auto, off or a number of networks: {text!r}")
    return int(text)


def devices(text: str) -> str:
    """Read a number of devices, or which."""
    if not re.fullmatch(r"auto|[1-9]\d*|(\d+,)+\d*", text):
        raise argparse.ArgumentTypeError(f"not auto, a number or a list as 0,1: {text!r}")
    return text


def names(text: str) -> tuple[str, ...]:
    """Read names between commas or spaces."""
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def lines(text: str) -> tuple[str, ...]:
    """Names of lines of a board, whose hyper-parameters have commas between them too."""
    return tuple(name for part in re.split(r",(?![^(]*\))", text) if (name := part.strip()))


def sanity_checks(text: str) -> tuple[str, ...]:
    """Read names of sanity checks."""
    for name in names(text):
        if name not in schema.SANITY_CHECKS:
            hint = did_you_mean(name, schema.SANITY_CHECKS)
            raise argparse.ArgumentTypeError(f'unknown sanity check "{name}"; {hint}')
    return names(text)


MOST_SEEDS = 10_000
"""In one range."""


def seeds(text: str) -> tuple[int, ...]:
    """Read seeds and ranges of them.

    >>> seeds("1-3,7")
    (1, 2, 3, 7)
    """
    found: list[int] = []
    for part in names(text):
        matched = re.fullmatch(r"(-?[0-9]+)(?:-([0-9]+))?", part)
        if matched is None:
            raise argparse.ArgumentTypeError(f"not a list of seeds, as 1,2,3 or 1-3: {text!r}")
        first, last = int(matched[1]), int(matched[2] or matched[1])
        if not 0 <= last - first < MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"not a range of seeds from low to high: {part!r}")
        found += range(first, last + 1)
    return tuple(found)


def numbers(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Read a list of numbers of a kind."""

    def parse(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part) for part in names(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"not a list of numbers: {text!r}") from None

    return parse
