"""The command line: what can be asked, and how it is written."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pai_bench.cli import (
    account,
    authoring,
    campaign,
    data,
    listing,
    merge,
    options,
    plan,
    publish,
    replay,
    results,
    run,
    spectrum,
    status,
    values,
    verify,
    watch,
)
from pai_bench.cli.nodes import on_all_nodes
from pai_bench.core.errors import BenchError
from pai_bench.core.project import VERSION
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
        for group in (options.common, *groups):
            group(sub)
        trains_here = options.execution in groups and function is not plan.plan
        sub.set_defaults(command=on_all_nodes(function) if trains_here else function)
        return sub

    sub = add(
        run.reproduce, "reproduce ntk-sap --suite mnist --jobs 2", options.choice, options.execution
    )
    sub.add_argument("paper", help="a paper of benchmark.yaml")
    sub.add_argument("--suite", default="quick", help="the paper's suite (default: quick)")
    sub = add(run.run, "run quick --methods snip --seeds 1", options.choice, options.execution)
    sub.add_argument("suite", nargs="?", help="a suite of benchmark.yaml")
    sub.add_argument("--claims", nargs="?", const="all", metavar="PAPER", help=options.CLAIMS)
    sub = add(
        campaign.campaign,
        "campaign gpu --budget 9m --wandb disabled",
        options.choice,
        options.execution,
    )
    sub.add_argument("name", help="a campaign of benchmark.yaml")
    sub = add(account.account, "account rigl-imagenet --methods rigl", options.choice)
    sub.add_argument("suite", help="a suite of benchmark.yaml")
    example = "spectrum ntk-sap-cifar10 --densities 0.262144"
    sub = add(spectrum.spectrum, example, options.choice, options.kernels)
    sub.add_argument("suite", help="a suite of benchmark.yaml")
    example = "replay ntt --programs lenet-300-100 --replicas 8 --steps 2000"
    sub = add(replay.replay, example, options.kernels)
    sub.add_argument("paper", help="a paper whose folder has a replay.py")
    sub.add_argument("--programs", type=values.names, default=(), help="only these, as a,b")
    sub.add_argument(
        "--replicas", type=values.count_of("replicas"), default=3, help="of each run (3)"
    )
    sub.add_argument(
        "--steps", type=values.count_of("steps"), help="where to stop (default: the whole run)"
    )
    sub = add(plan.plan, "plan mnist --densities 0.1", options.choice, options.execution)
    sub.add_argument("suite", nargs="?", help="a suite (default: all of them)")
    sub.add_argument("--paper", help="a paper; SUITE is then one of its short names")
    sub.add_argument(
        "--gpus", type=values.gpus, default=(), metavar="N,M",
        help="simulate clusters of so many GPUs instead (default: the suites of all papers)",
    )  # fmt: skip
    sub = add(publish.leaderboard, "leaderboard --suite quick --wandb", options.reading)
    sub.add_argument("--suite", help="a suite (default: all with results)")
    sub.add_argument(
        "--wandb", nargs="?", const="auto", choices=options.WANDB_MODES, help="mirror to W&B too"
    )
    sub = add(publish.evidence, "evidence mnist baselines/evidence")
    sub.add_argument("suite", help="a suite with results")
    sub.add_argument("folder", type=Path, help="where to; read it with --runs FOLDER")
    sub = add(results.compare, "compare ntk-sap snip --suite mnist", options.reading)
    sub.add_argument("ours", metavar="METHOD_A", help="a method, or a line as 'random (scope=erk)'")
    sub.add_argument("theirs", metavar="METHOD_B", help="another one")
    sub.add_argument("--suite", help="a suite (default: all with results of both)")
    sub = add(results.export, "export mnist --format latex --output table.tex", options.reading)
    asked = sub.add_mutually_exclusive_group(required=True)
    asked.add_argument("suite", nargs="?", help="a suite with results")
    asked.add_argument("--suite", dest="suite", metavar="SUITE", help="the same, as other commands")
    sub.add_argument("--format", choices=FORMATS, help="(by the end of --output; csv)")
    sub.add_argument("--output", type=Path, help="file to write (default: print it)")
    sub = add(
        results.plot, "plot mnist --kind ranks --columns 2 --output ranks.pdf", options.reading
    )
    sub.add_argument("suite", help="a suite with results")
    sub.add_argument("--output", type=Path, required=True, help="file to write: .pdf, .svg or .png")
    sub.add_argument("--kind", default="accuracy", choices=KINDS, help="(accuracy)")
    sub.add_argument("--columns", type=int, default=1, choices=COLUMNS, help="of a page (1)")
    sub.add_argument(
        "--methods",
        type=values.lines,
        default=(),
        help="only these lines, as 'snip,random (scope=erk)'",
    )
    sub.add_argument(
        "--densities", type=values.numbers(float), default=(), help="only these, as 0.1,0.01"
    )
    sub.add_argument("--layer", default="", help="of a path: whose units are drawn (the first)")
    sub = add(results.claims, "claims rigl --runs runs", options.reading)
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
        "--rerun", type=values.count_of("cells"), default=0, metavar="N",
        help="train N of the cells again, the cheapest of each method first, and compare the bits",
    )  # fmt: skip
    sub.add_argument(
        "--jobs", type=values.count_of("workers"), default=0, help="workers (default: one a core)"
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
    sub = add(listing.show, "show 1a2b3c", options.reading)
    sub.add_argument("cell", help="the id of a stored cell, or the start of it")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub = add(data.data, "data mnist\n  pai-bench data export mnist /media/mirror")
    sub.add_argument(
        "names", nargs="*",
        help="data sets (default: all), or: export NAME FOLDER, or: import FOLDER [INTO]",
    )  # fmt: skip
    sub.add_argument(
        "--part-size", type=values.size, default=0, metavar="SIZE",
        help="export files in parts of at most so much, as 60M; import joins them",
    )  # fmt: skip
    add(data.doctor, "doctor")
    sub = add(authoring.bench, "bench --accelerator gpu")
    sub.add_argument("--accelerator", default="cpu", choices=("cpu", "gpu"), help="(cpu)")
    return parser


READING = ("leaderboard", "compare", "export", "plot", "claims", "show")
"""Commands that read results of several folders."""
