"""Errors of networks and methods, in one line that names the layer in which they arose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from torch import nn

from pai_bench.core.errors import BenchError, first_line


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Turn any error but BenchError into a BenchError: what, in which layer, and its first line.

    >>> with in_one_line("snip"):
    ...     nn.Sequential(nn.ReLU(), nn.Linear(2, 2))(7)
    Traceback (most recent call last):
    pai_bench.core.errors.BenchError: snip: relu(): argument 'input' (position 1) must be Tensor, \
not int (in layer 0, a ReLU)
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        reason = first_line(error) or type(error).__name__
        raise BenchError(f"{what}: {reason}{_layer(error.__traceback__)}") from error


def _layer(traceback: TracebackType | None) -> str:
    """Name the innermost module that was running, as the outermost one names it."""
    running = []
    while traceback is not None:
        caller = traceback.tb_frame.f_locals.get("self")
        if isinstance(caller, nn.Module) and traceback.tb_frame.f_code.co_name == "forward":
            running.append(caller)
        traceback = traceback.tb_next
    if not running:
        return ""
    names = {module: name for name, module in running[0].named_modules()}
    name, kind = names.get(running[-1], ""), type(running[-1]).__name__
    return f" (in layer {name}, a {kind})" if name else f" (in the forward pass of {kind})"
