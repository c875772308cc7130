"""Benchmarks of the harness itself, as ratios within one run (imports leaderboard and below)."""

from __future__ import annotations

import torch
from rich.console import Console

from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.training import fit


def measure(console: Console, settings: Benchmark, accelerator: str = "cpu") -> None:
    """Run all benchmarks, on as many threads as a cell has, and print their tables.

    On a GPU those of training alone: the others measure what runs on the CPU.

    Raises:
        BenchError: There is no such accelerator here.
    """
    from pai_bench.bench import (
        batches,
        bundles,
        dynamic,
        kernel_choice,
        kernels,
        memory,
        overhead,
        pages,
        photographs,
        scoring,
        training,
    )

    torch.set_num_threads(settings.threads)
    fit.quiet()
    if accelerator == "gpu":
        if not torch.cuda.is_available():
            raise BenchError("--accelerator gpu: PyTorch finds no GPU here")
        console.print(f"on {torch.cuda.get_device_name()}", highlight=False)
        bundles.measure(console, settings, accelerator)
        return memory.measure(console, settings, "cuda")
    bundles.measure(console, settings)
    training.measure(console, settings)
    dynamic.measure(console, settings)
    batches.measure(console, settings)
    photographs.measure_photographs(console, settings)
    scoring.measure(console, settings)
    kernels.measure(console, settings)
    kernel_choice.measure(console, settings)
    memory.measure(console, settings)
    overhead.measure(console, settings)
    return pages.measure(console, settings)
