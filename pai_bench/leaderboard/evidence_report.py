"""READMEs that repeat results: their tables and verdicts, written anew from the evidence.

A block of a leaderboard, of which `...` stands for lines left out:

    <!-- evidence: reproductions/ntk_sap/evidence quick -->
    (a code block)

and the claims of a paper with their verdicts, between two marks:

    <!-- claims: ntk-sap -->
    <!-- end of claims -->
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from pai_bench.claims import verdicts
from pai_bench.claims.lookup import ResultLookup, evidence_folders
from pai_bench.claims.parser import of_papers
from pai_bench.claims.schema import Claims
from pai_bench.claims.verdicts import Verdict, tally
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.core.project import ROOT
from pai_bench.leaderboard import markdown
from pai_bench.leaderboard.claims_table import NUMBERS, legend, numbers, title
from pai_bench.leaderboard.evidence_board import PAGE, evidence_leaderboard
from pai_bench.leaderboard.stored import stored_board
from pai_bench.leaderboard.terminal import print_board
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store import replayed, spectra
from pai_bench.store.store import Store

BLOCK = re.compile(r"(<!-- evidence: (\S+) (\S+) -->\n```\n)(.*?)(```)", re.DOTALL)
CLAIMS = re.compile(r"<!-- claims: (\S+) -->\n.*?<!-- end of claims -->", re.DOTALL)
Methods = Mapping[str, MethodInfo]


def pages(paper: str | None, root: Path = ROOT) -> list[Path]:
    """List the READMEs and pages that repeat results, those of one paper or all.

    Raises BenchError for an unknown paper, or outside of a checkout of the project.
    """
    found = [known.folder / "README.md" for known in of_papers(paper, root)]
    documentation = sorted((root / "docs" / "pages").rglob("*.md"))
    of_all = [
        root / "README.md",
        root / "baselines" / "README.md",
        *filter(_repeats, documentation),
    ]
    every = found if paper else [*of_all, *found]
    existing = [path for path in every if path.is_file()]
    if not existing or not evidence_folders(root):
        raise BenchError(f"{root}: no evidence; reports are written in a checkout of PaI-Bench")
    return existing


def _repeats(page: Path) -> bool:
    return BLOCK.search(page.read_text(encoding="utf-8")) is not None


def refresh_file(path: Path, settings: Benchmark, methods: Methods, root: Path = ROOT) -> bool:
    """Write what a README repeats anew; tell whether that changed it."""
    text = path.read_text(encoding="utf-8")
    return _rewrite(path, refresh(text, settings, methods, root))


def refresh_leaderboard(settings: Benchmark, methods: Methods, root: Path = ROOT) -> bool:
    """Write the leaderboard of all evidence anew; tell whether that changed it."""
    return _rewrite(root / PAGE, evidence_leaderboard(settings, methods, root))


def _rewrite(path: Path, fresh: str) -> bool:
    changed = not path.is_file() or fresh != path.read_text(encoding="utf-8")
    if changed:
        path.write_text(fresh, encoding="utf-8")
    return changed


def refresh(text: str, settings: Benchmark, methods: Methods, root: Path = ROOT) -> str:
    """Fill in all blocks and claims of a README from the evidence.

    Raises BenchError where a block has a line that its table no longer has.
    """

    def block(match: re.Match[str]) -> str:
        start, folder, suite, printed, end = match.groups()
        table = rendered(root / folder, suite, settings, methods)
        return start + "".join(f"{line}\n" for line in _filled(printed, table, suite)) + end

    def claims(match: re.Match[str]) -> str:
        (known,) = of_papers(match[1], root)
        measured = ResultLookup(settings, methods, evidence_folders(root))
        judged = verdicts.judge(known, measured)
        body = "\n".join(_claims(known, judged))
        return f"<!-- claims: {match[1]} -->\n{body}\n<!-- end of claims -->"

    return CLAIMS.sub(claims, BLOCK.sub(block, text))


def rendered(folder: Path, suite: str, settings: Benchmark, methods: Methods) -> list[str]:
    """Lines of the leaderboard of a suite, as the terminal shows it."""
    console = Console(file=io.StringIO(), width=110)
    board, _ = stored_board(with_overrides(settings, suite), methods, [folder], suite)
    print_board(console, board, suite)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def _filled(printed: str, table: Sequence[str], suite: str) -> Iterator[str]:
    """Replace each printed line by the next line of the table for the same method and density."""
    position = 0
    for line in printed.splitlines():
        if line.strip() in ("", "..."):
            yield line
            continue
        place = next((i for i in range(position, len(table)) if _key(table[i]) == _key(line)), None)
        if place is None:
            raise BenchError(f"evidence of {suite} has no line any more for: {line.strip()}")
        yield table[place]
        position = place + 1


def _key(line: str) -> tuple[str, ...]:
    """What a line is about: method, where it is named, and density; two words of any other line.

    >>> _key("  snip      0.1   90 %   97.91 ± 0.09"), _key("      0.05   95 %  97.65")
    (('snip', '0.1'), ('', '0.05'))
    """
    words = re.split(r"\s{2,}", re.sub("─+", "─", line.strip()))
    named = re.fullmatch(r"\d+(\.\d+)?(e-\d+)?", words[0]) is None
    return tuple(words[:2]) if named else ("", words[0])


def _claims(claims: Claims, judged: Sequence[Verdict]) -> Iterator[str]:
    """The claims of a paper, what was run, and each verdict, as Markdown."""
    counts = ", ".join(f"{count} {state}" for state, count in tally(judged).items())
    paper = claims.content.paper
    yield f"[claims.yaml](claims.yaml) holds {len(judged)} claims: {counts}. The rules are in"
    yield "`pai_bench/claims/verdicts.py`; all that each verdict rests on is shown by"
    yield f"`pai-bench claims {paper} --json`. This section is written by"
    yield f"`make evidence-report PAPER={paper}`."
    yield ""
    yield from _evidence(claims)
    yield from _sources(judged)
    tested = [verdict for verdict in judged if verdict.test is not None]
    yield from _verdicts(tested)
    yield from _failures(tested)
    yield from _deviations(claims, tested)
    yield from _not_run(judged)
    yield "**Not among the claims**, because it could not be verified:"
    yield ""
    yield from (f"- {line}" for line in claims.content.missing)
    yield ""


def _evidence(claims: Claims) -> Iterator[str]:
    """Say which suites and replays the paper's folder keeps results of."""
    suites = [path for path in sorted(_kept_in(claims).glob("*")) if path.is_dir()]
    kept = [*map(_suite, suites), *_replays(claims), *_spectra(claims)]
    yield f"Evidence kept here: {', '.join(kept) or 'none yet'}."
    yield ""


def _suite(path: Path) -> str:
    entries = Store(path.parent, path.name).entries()
    counted = all(entry.numbers.status == "counted" for entry in entries)
    return f"`{path.name}` ({len(entries)} cells{', counted without training' if counted else ''})"


def _replays(claims: Claims) -> Iterator[str]:
    for name in claims.content.replays:
        replicas = replayed.read(_kept_in(claims), claims.content.paper, name)
        if replicas:
            runs = len({replica.run for replica in replicas})
            yield f"replays of `{name}` ({runs} runs of the authors, {len(replicas)} replicas)"


def _spectra(claims: Claims) -> Iterator[str]:
    for suite in claims.content.suites:
        if found := spectra.read(_kept_in(claims), suite):
            yield f"spectra of `{suite}` ({len(found)} networks, untrained)"


def _kept_in(claims: Claims) -> Path:
    return claims.folder / "evidence"


def _sources(judged: Sequence[Verdict]) -> Iterator[str]:
    by: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in judged:
        source = verdict.claim.source
        by.setdefault((source.what, source.by, source.reading), []).append(verdict)
    texts = ("source", "said by", "read")
    rows = [[*source, str(len(v)), *map(str, tally(v).values())] for source, v in by.items()]
    yield markdown.table([*texts, "claims", *verdicts.STATES], rows, texts)


def _verdicts(tested: Sequence[Verdict]) -> Iterator[str]:
    if not tested:
        yield "No claim has been tested: the evidence holds none of the cells that test one."
        yield ""
        return
    rows = [[verdict.claim.id, *numbers(verdict), verdict.state] for verdict in tested]
    yield markdown.table(["claim", *NUMBERS, "verdict"], rows, ("claim", "verdict"))
    yield from legend(tested)
    yield ""


def _failures(tested: Sequence[Verdict]) -> Iterator[str]:
    failed = [verdict for verdict in tested if verdict.state == "not reproduced"]
    if not failed:
        return
    yield "**Not reproduced**:"
    yield ""
    for verdict in failed:
        doubt = f" The print itself is in doubt: {verdict.claim.doubt}." * bool(verdict.claim.doubt)
        yield f"- {title(verdict.claim)}: {verdict.reason}.{doubt} Again: `{verdict.command}`."
    yield ""


def _deviations(claims: Claims, tested: Sequence[Verdict]) -> Iterator[str]:
    """How the cells behind the verdicts differ from what the paper ran."""
    for program in dict.fromkeys(v.claim.replay for v in tested if v.claim.replay):
        of_program = {v.seeds for v in tested if v.claim.replay == program and v.seeds}
        settled = "".join(f" (of replicas, {text})" for text in of_program)
        yield f"**Replay of `{program}`**{settled} differs from what the authors ran:"
        yield ""
        yield from (f"- {line}" for line in claims.content.replays[program].deviations)
        yield ""
    for suite in dict.fromkeys(verdict.claim.suite for verdict in tested if verdict.claim.suite):
        of_suite = [verdict for verdict in tested if verdict.claim.suite == suite]
        seeds = f"up to {max(verdict.n for verdict in of_suite)} seeds"
        settled = "".join(f" ({text})" for text in {v.seeds for v in of_suite} if text)
        yield f"**Suite `{suite}`**, {seeds}{settled}, differs from the paper:"
        yield ""
        yield from (f"- {line}" for line in claims.content.suites[suite].deviations)
        for block in dict.fromkeys(v.claim.block for v in of_suite):
            of_block = next(v.claim.deviations for v in of_suite if v.claim.block == block)
            yield from (f"- `{block}`: {line}" for line in of_block)
        yield ""


def _not_run(judged: Sequence[Verdict]) -> Iterator[str]:
    reasons = Counter(verdict.reason for verdict in judged if verdict.state == "not run")
    if not reasons:
        return
    yield "**Not run**, by reason:"
    yield ""
    for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]):
        yield f"- {count}: {reason}"
    yield ""
