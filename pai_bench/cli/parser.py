"""The command line: what can be asked, and how it is written."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pai_bench.cli import (
    account,
    authoring,
    campaign,
    data,
    listing,
    merge,
    publish,
    replay,
    results,
    run,
    spectrum,
    status,
    verify,
    watch,
)
from pai_bench.cli.nodes import on_all_nodes
from pai_bench.config import schema
from pai_bench.core.errors import BenchError, did_you_mean
from pai_bench.core.project import VERSION, settings_file
from pai_bench.launch.launcher import LOCAL
from pai_bench.leaderboard.figures.kinds import COLUMNS, KINDS
from pai_bench.leaderboard.formats import FORMATS


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise BenchError(f"{message} (see `{self.prog} --help`)")


def build_parser() -> argparse.ArgumentParser:
    """Describe all commands; each sets `command` to the function that runs it."""
    parser = _Parser(
        prog="pai-bench",
        description="Re-run papers that train sparse networks, against every baseline.",
        epilog="examples:\n  pai-bench reproduce ntk-sap\n  pai-bench plan mnist\n"
        "  pai-bench run mnist --methods snip,ntk-sap --densities 0.1,0.01 --jobs 2\n"
        "  pai-bench leaderboard --suite mnist --wandb",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pai-bench {VERSION}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(function: Callable[..., int], example: str, *groups: Callable[..., None]) -> _Parser:
        about = (function.__doc__ or "").strip()
        sub: _Parser = subparsers.add_parser(
            function.__name__.replace("_", "-"),
            help=about,
            description=about,
            epilog=f"example:\n  pai-bench {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for group in (_common, *groups):
            group(sub)
        trains_here = _execution in groups and function is not run.plan
        sub.set_defaults(command=on_all_nodes(function) if trains_here else function)
        return sub

    sub = add(run.reproduce, "reproduce ntk-sap --suite mnist --jobs 2", _choice, _execution)
    sub.add_argument("paper", help="a paper of benchmark.yaml")
    sub.add_argument("--suite", default="quick", help="the paper's suite (default: quick)")
    sub = add(run.run, "run quick --methods snip --seeds 1", _choice, _execution)
    sub.add_argument("suite", nargs="?", help="a suite of benchmark.yaml")
    sub.add_argument("--claims", nargs="?", const="all", metavar="PAPER", help=_CLAIMS)
    sub = add(campaign.campaign, "campaign gpu --budget 9m --wandb disabled", _choice, _execution)
    sub.add_argument("name", help="a campaign of benchmark.yaml")
    sub = add(account.account, "account rigl-imagenet --methods rigl", _choice)
    sub.add_argument("suite", help="a suite of benchmark.yaml")
    sub = add(spectrum.spectrum, "spectrum ntk-sap-cifar10 --densities 0.262144", _choice)
    sub.add_argument("suite", help="a suite of benchmark.yaml")
    sub = add(replay.replay, "replay ntt --programs lenet-300-100 --replicas 8 --steps 2000")
    sub.add_argument("paper", help="a paper whose folder has a replay.py")
    sub.add_argument("--programs", type=_names, default=(), help="only these, as a,b")
    sub.add_argument("--replicas", type=_count_of("replicas"), default=3, help="of each run (3)")
    sub.add_argument(
        "--steps", type=_count_of("steps"), help="where to stop (default: the whole run)"
    )
    sub = add(run.plan, "plan mnist --densities 0.1", _choice, _execution)
    sub.add_argument("suite", nargs="?", help="a suite (default: all of them)")
    sub.add_argument("--paper", help="a paper; SUITE is then one of its short names")
    sub.add_argument(
        "--gpus", type=_gpus, default=(), metavar="N,M",
        help="simulate clusters of so many GPUs instead (default: the suites of all papers)",
    )  # fmt: skip
    sub = add(publish.leaderboard, "leaderboard --suite quick --wandb", _reading)
    sub.add_argument("--suite", help="a suite (default: all with results)")
    sub.add_argument("--wandb", nargs="?", const="auto", choices=_MODES, help="mirror to W&B too")
    sub = add(publish.evidence, "evidence mnist baselines/evidence")
    sub.add_argument("suite", help="a suite with results")
    sub.add_argument("folder", type=Path, help="where to; read it with --runs FOLDER")
    sub = add(results.compare, "compare ntk-sap snip --suite mnist", _reading)
    sub.add_argument("ours", metavar="METHOD_A", help="a method, or a line as 'random (scope=erk)'")
    sub.add_argument("theirs", metavar="METHOD_B", help="another one")
    sub.add_argument("--suite", help="a suite (default: all with results of both)")
    sub = add(results.export, "export mnist --format latex --output table.tex", _reading)
    asked = sub.add_mutually_exclusive_group(required=True)
    asked.add_argument("suite", nargs="?", help="a suite with results")
    asked.add_argument("--suite", dest="suite", metavar="SUITE", help="the same, as other commands")
    sub.add_argument("--format", default="csv", choices=FORMATS, help="(csv)")
    sub.add_argument("--output", type=Path, help="file to write (default: print it)")
    sub = add(results.plot, "plot mnist --kind ranks --columns 2 --output ranks.pdf", _reading)
    sub.add_argument("suite", help="a suite with results")
    sub.add_argument("--output", type=Path, required=True, help="file to write: .pdf, .svg or .png")
    sub.add_argument("--kind", default="accuracy", choices=KINDS, help="(accuracy)")
    sub.add_argument("--columns", type=int, default=1, choices=COLUMNS, help="of a page (1)")
    sub.add_argument(
        "--methods", type=_lines, default=(), help="only these lines, as 'snip,random (scope=erk)'"
    )
    sub.add_argument(
        "--densities", type=_numbers(float), default=(), help="only these, as 0.1,0.01"
    )
    sub.add_argument("--layer", default="", help="of a path: whose units are drawn (the first)")
    sub = add(results.claims, "claims rigl --runs runs", _reading)
    sub.add_argument("paper", nargs="?", help="a paper (default: all of them)")
    sub.add_argument("--json", action="store_true", help="every claim with all that it rests on")
    sub.add_argument("--next", action="store_true", help="what to run for the undecided ones")
    sub.add_argument("--bibtex", action="store_true", help="how to cite the paper and PaI-Bench")
    sub = add(verify.verify, "verify runs --rerun 9")
    sub.add_argument(
        "folders", nargs="*", type=Path, metavar="RUNS",
        help="folders of results (default: the evidence kept with the code, and runs)",
    )  # fmt: skip
    sub.add_argument(
        "--rerun", type=_count_of("cells"), default=0, metavar="N",
        help="train N of the cells again, the cheapest of each method first, and compare the bits",
    )  # fmt: skip
    sub.add_argument(
        "--jobs", type=_count_of("workers"), default=0, help="workers (default: one a core)"
    )
    sub = add(merge.merge, "merge runs-a runs-b --into runs")
    sub.add_argument("folders", nargs="+", type=Path, metavar="RUNS", help="folders of results")
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="where to (default: the first)")
    sub.add_argument(
        "--prefer",
        type=Path,
        metavar="FOLDER",
        help="one of them: its results stay where two differ",
    )
    add(status.status, "status --runs runs")
    sub = add(watch.watch, "watch --runs /shared/runs")
    sub.add_argument("--once", action="store_true", help="say how far it is now, and no more")
    sub = add(results.evidence_report, "evidence-report ntk-sap")
    sub.add_argument("paper", nargs="?", help="a paper (default: all of them)")
    sub = add(listing.methods, "methods snip")
    sub.add_argument("name", nargs="?", help="one method, with all that it declares")
    sub.add_argument("--json", action="store_true", help="all that is declared, as JSON")
    sub = add(authoring.new_method, "new-method my-method")
    sub.add_argument("name", help="what the method is to be called, as my-method")
    sub = add(authoring.check, "check my-method --plugin my_method.py")
    sub.add_argument("method", help="a method: built in, installed, or of a plugin file")
    sub = add(listing.networks, "networks --json")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub = add(listing.datasets, "datasets --json")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub = add(listing.show, "show 1a2b3c", _reading)
    sub.add_argument("cell", help="the id of a stored cell, or the start of it")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub = add(data.data, "data mnist\n  pai-bench data export mnist /media/mirror")
    sub.add_argument(
        "names", nargs="*",
        help="data sets (default: all), or: export NAME FOLDER, or: import FOLDER [INTO]",
    )  # fmt: skip
    sub.add_argument(
        "--part-size", type=_bytes, default=0, metavar="SIZE",
        help="export files in parts of at most so much, as 60M; import joins them",
    )  # fmt: skip
    add(data.doctor, "doctor")
    sub = add(authoring.bench, "bench --accelerator gpu")
    sub.add_argument("--accelerator", default="cpu", choices=("cpu", "gpu"), help="(cpu)")
    return parser


READING = ("leaderboard", "compare", "export", "plot", "claims", "show")
"""Commands that read results of several folders."""


_ACCELERATORS = ("auto", "cpu", "gpu", "tpu")


_PRECISIONS = ("64-true", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true")


_CLAIMS = "instead of a suite: what decides claims, cheapest first, as --budget allows"


_MODES = ("auto", "online", "offline", "disabled")


def _common(sub: _Parser) -> None:
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


def _reading(sub: _Parser) -> None:
    sub.add_argument(
        "--evidence", action="store_true",
        help="read the results that are kept with the code too; --runs may be given again as well",
    )  # fmt: skip


def _choice(sub: _Parser) -> None:
    sub.add_argument("--methods", type=_names, default=(), help="only these, as a,b")
    sub.add_argument(
        "--densities", type=_numbers(float), default=(), help="only these, as 0.1,0.01"
    )
    sub.add_argument("--seeds", type=_seeds, default=(), help="only these, as 1,2,3 or 1-3")
    sub.add_argument(
        "--sanity-check", "--ablation", dest="sanity_checks", metavar="CHECK",
        type=_sanity_checks, default=(),
        help=f"sanity checks to run beside each method: {', '.join(schema.SANITY_CHECKS)}",
    )  # fmt: skip
    _changes(sub)
    sub.add_argument(
        "--precision", default="32-true", choices=_PRECISIONS, help="the Trainer's (32-true)"
    )


def _changes(sub: _Parser) -> None:
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


def _execution(sub: _Parser) -> None:
    sub.add_argument(
        "--jobs",
        type=_count_of("workers"),
        default=0,
        help="workers (default: one a core; at most one a GPU)",
    )
    sub.add_argument(
        "--accelerator", default="auto", choices=_ACCELERATORS, help="the Trainer's (auto)"
    )
    sub.add_argument(
        "--devices",
        default="auto",
        type=_devices,
        help="GPUs to spread cells over: a number, or a list; of CPU processes by ddp, a number",
    )
    sub.add_argument(
        "--strategy", default="auto", help="auto, or ddp: train each network on all devices"
    )
    sub.add_argument(
        "--nodes", type=_count_of("nodes"), default=1, metavar="N",
        help="machines that train each network together, by ddp: the command runs on each (1)",
    )  # fmt: skip
    sub.add_argument(
        "--accumulate", type=_count_of("pieces"), default=1, metavar="K",
        help="pass each batch in so many pieces, for want of memory (1)",
    )  # fmt: skip
    sub.add_argument(
        "--stack", type=_stack, metavar="auto|off|K",
        help="networks trained as one; auto: on a CPU the same bit by bit (benchmark.yaml)",
    )  # fmt: skip
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
        "--budget", type=_seconds, default=math.inf, metavar="TIME",
        help="stop in time, as 9m or 1h30m; what decides claims runs first",
    )  # fmt: skip
    sub.add_argument("--wandb", default=None, choices=_MODES, help="mirror to W&B (benchmark.yaml)")
    sub.add_argument("--retry-failed", action="store_true", help="run failed cells again")


def _count_of(what: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
            raise argparse.ArgumentTypeError(f"not a number of {what}: {text!r}")
        return int(text)

    return parse


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,8})([kMG])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"not a size as 500k, 60M or 2G: {text!r}")
    return int(match[1]) * {"k": 10**3, "M": 10**6, "G": 10**9}[match[2]]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    seconds = sum(int(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True)
                  ) if match else 0  # fmt: skip
    if not seconds:
        raise argparse.ArgumentTypeError(f"not a time as 90s, 9m or 1h30m: {text!r}")
    return float(seconds)


def _gpus(text: str) -> tuple[int, ...]:
    return tuple(map(_count_of("GPUs"), _names(text)))


def _stack(text: str) -> Any:
    if text in ("auto", "off"):
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not auto, off or a number of networks: {text!r}")
    return int(text)


def _devices(text: str) -> str:
    if not re.fullmatch(r"auto|[1-9]\d*|(\d+,)+\d*", text):
        raise argparse.ArgumentTypeError(f"not auto, a number or a list as 0,1: {text!r}")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def _lines(text: str) -> tuple[str, ...]:
    """Names of lines of a board, whose hyper-parameters have commas between them too."""
    return tuple(name for part in re.split(r",(?![^(]*\))", text) if (name := part.strip()))


def _sanity_checks(text: str) -> tuple[str, ...]:
    for name in _names(text):
        if name not in schema.SANITY_CHECKS:
            hint = did_you_mean(name, schema.SANITY_CHECKS)
            raise argparse.ArgumentTypeError(f'unknown sanity check "{name}"; {hint}')
    return _names(text)


def _seeds(text: str) -> tuple[int, ...]:
    """Read seeds and ranges of them.

    >>> _seeds("1-3,7")
    (1, 2, 3, 7)
    """
    found: list[int] = []
    for part in _names(text):
        matched = re.fullmatch(r"(-?[0-9]+)(?:-([0-9]+))?", part)
        if matched is None:
            raise argparse.ArgumentTypeError(f"not a list of seeds, as 1,2,3 or 1-3: {text!r}")
        first, last = int(matched[1]), int(matched[2] or matched[1])
        if not 0 <= last - first < _MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"not a range of seeds from low to high: {part!r}")
        found += range(first, last + 1)
    return tuple(found)


_MOST_SEEDS = 10_000


def _numbers(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def parse(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part) for part in _names(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"not a list of numbers: {text!r}") from None

    return parse
