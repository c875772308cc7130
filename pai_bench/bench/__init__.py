"""Benchmarks of the harness itself, as ratios within one run (imports leaderboard and below)."""

from __future__ import annotations

import torch
from rich.console import Console

from pai_bench.config.schema import Benchmark
from pai_bench.training import fit


def measure(console: Console, settings: Benchmark) -> None:
    """Run all benchmarks, on as many threads as a cell has, and print their tables."""
    from pai_bench.bench import batches, dynamic, kernels, pages, photographs, scoring, training

    torch.set_num_threads(settings.threads)
    fit.quiet()
    training.measure(console, settings)
    dynamic.measure(console, settings)
    batches.measure(console, settings)
    photographs.measure_photographs(console, settings)
    scoring.measure(console, settings)
    kernels.measure(console, settings)
    pages.measure(console, settings)
