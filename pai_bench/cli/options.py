"""Options that commands share, in groups."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from pai_bench.cli import values
from pai_bench.config import schema
from pai_bench.core.project import settings_file
from pai_bench.launch.launcher import LOCAL

ACCELERATORS = ("auto", "cpu", "gpu", "tpu")
PRECISIONS = ("64-true", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true")
KERNELS = ("portable", "native")
CLAIMS = "instead of a suite: what decides claims, cheapest first, as --budget allows"
WANDB_MODES = ("auto", "online", "offline", "disabled")


def common(sub: argparse.ArgumentParser) -> None:
    """Options of every command."""
    sub.add_argument(
        "--config", type=Path, default=settings_file(), metavar="FILE.yaml",
        help="settings (benchmark.yaml in this folder, else PaI-Bench's own)",
    )  # fmt: skip
    sub.add_argument(
        "--runs", type=Path, action="append", metavar="FOLDER", help="folder of results (runs)"
    )
    sub.add_argument(
        "--plugin", type=Path, action="append", default=[], metavar="FILE.py",
        help="a file with methods of your own; may be given again",
    )  # fmt: skip


def reading(sub: argparse.ArgumentParser) -> None:
    """Options of commands that read results."""
    sub.add_argument(
        "--evidence", action="store_true",
        help="read the results that are kept with the code too; --runs may be given again as well",
    )  # fmt: skip


def choice(sub: argparse.ArgumentParser) -> None:
    """Options that choose cells of a suite."""
    sub.add_argument("--methods", type=values.names, default=(), help="only these, as a,b")
    sub.add_argument(
        "--densities", type=values.numbers(float), default=(), help="only these, as 0.1,0.01"
    )
    sub.add_argument("--seeds", type=values.seeds, default=(), help="only these, as 1,2,3 or 1-3")
    sub.add_argument(
        "--sanity-check", "--ablation", dest="sanity_checks", metavar="CHECK",
        type=values.sanity_checks, default=(),
        help=f"sanity checks to run beside each method: {', '.join(schema.SANITY_CHECKS)}",
    )  # fmt: skip
    changes(sub)
    sub.add_argument(
        "--precision", default="32-true", choices=PRECISIONS, help="the Trainer's (32-true)"
    )


def changes(sub: argparse.ArgumentParser) -> None:
    """Options that change the suite: each is one more +KEY=VALUE after its name."""

    def add(option: str, metavar: str, key: str, about: str, **more: Any) -> None:
        sub.add_argument(
            option, dest="changes", action="append", default=[], metavar=metavar,
            type=lambda text: key + text, help=about, **more,
        )  # fmt: skip

    add("--network", "NAME", "network=", "another network, or yours: mypkg.nets:build")
    add("--data", "NAME", "data=", "another data set")
    add("--set", "KEY=VALUE", "", "another value of a key of the recipe; may be given again")
    add(
        "--validation", "PART", "validation=", nargs="?", const="0.1",
        about="evaluate on a part (0.1) of the training images, not on the test images",
    )  # fmt: skip


def kernels(sub: argparse.ArgumentParser) -> None:
    """The option of how a CPU computes."""
    sub.add_argument(
        "--kernels", choices=KERNELS,
        help="portable: the same bits on every processor; native: faster (benchmark.yaml)",
    )  # fmt: skip


def execution(sub: argparse.ArgumentParser) -> None:
    """Options of how cells are run."""
    sub.add_argument(
        "--jobs",
        type=values.count_of("workers"),
        default=0,
        help="workers (default: one a core; at most one a GPU)",
    )
    sub.add_argument(
        "--accelerator", default="auto", choices=ACCELERATORS, help="the Trainer's (auto)"
    )
    sub.add_argument(
        "--devices",
        default="auto",
        type=values.devices,
        help="GPUs to spread cells over: a number, or a list; of CPU processes by ddp, a number",
    )
    sub.add_argument(
        "--strategy", default="auto", help="auto, or ddp: train each network on all devices"
    )
    sub.add_argument(
        "--nodes", type=values.count_of("nodes"), default=1, metavar="N",
        help="machines that train each network together, by ddp: the command runs on each (1)",
    )  # fmt: skip
    sub.add_argument(
        "--accumulate", type=values.count_of("pieces"), default=1, metavar="K",
        help="pass each batch in so many pieces, for want of memory (1)",
    )  # fmt: skip
    sub.add_argument(
        "--stack", type=values.stack, metavar="auto|off|K",
        help="networks trained as one; auto: on a CPU the same bit by bit (benchmark.yaml)",
    )  # fmt: skip
    kernels(sub)
    sub.add_argument(
        "--launcher", default=LOCAL,
        help="where cells run: local, slurm, ray, or that of a package (local)",
    )  # fmt: skip
    sub.add_argument(
        "--launcher-option", dest="launcher_options", action="append", default=[],
        metavar="KEY=VALUE",
        help="another value of an option of the launcher (benchmark.yaml); may be given again",
    )  # fmt: skip
    sub.add_argument(
        "--budget", type=values.seconds, default=math.inf, metavar="TIME",
        help="stop in time, as 9m or 1h30m; what decides claims runs first",
    )  # fmt: skip
    sub.add_argument(
        "--wandb", default=None, choices=WANDB_MODES, help="mirror to W&B (benchmark.yaml)"
    )
    sub.add_argument("--retry-failed", action="store_true", help="run failed cells again")
