"""Claims against results: reproduced, not reproduced, inconclusive or not run.

Every verdict rests on at least three seeds, a 95 % Student t interval and a test at 5 %.

**A printed value**. The difference is our mean minus the printed value, with Welch's standard
error where the paper prints a spread and a number of runs, else with ours alone. The tolerance
around 0 is how exactly the value can be read (rounding, or the error of reading a figure) plus what
the claim's metric declares (tolerance.py): the larger of

* the least of so many points, a part of the claimed error rate and a part of the printed value, and
* a part of the value by which the paper's way of counting differs, where claims.yaml has it, and
* some spreads over runs: the root mean square of the paper's standard deviation and ours, up to a
  limit.

How much that is, and why, stands beside each metric: in claims/metrics.py and in the metrics.py of
the papers.

*Reproduced*: the interval of the difference lies inside the tolerance (two one-sided tests).
*Not reproduced*: the interval has no point in common with the tolerance, nor with the one that it
would be without the limit: a single printed run may lie that far off. Otherwise *inconclusive*.
The limit keeps runs that scatter widely, of which some fail, say, from reproducing anything.
Where only "below x" or "above x" is claimed, the tolerance has no lower or no upper end.

**One method above another**. Differences are paired by seed. *Reproduced*: their interval lies
above 0; *not reproduced*: it lies below 0; otherwise *inconclusive*.

**A program of the authors, replayed**. What it printed is compared with what replicas on its own
inputs give, which differ by rounding alone; the spread over replicas is small where the inputs
determine the value, and grows where rounding does. Each run that was printed must agree.

**Many claims at once**. The p-values of all tested claims of a paper are one family, adjusted by
Holm's procedure (replays are another one, for nothing in them was drawn here); a verdict needs an
adjusted p below 5 %. What an interval shows alone and not among all others is inconclusive, and
said so. With three seeds few claims can get a verdict; how many would probably decide one is said
of each that is inconclusive (power.py), at 5 % over the number of claims that are inconclusive.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pai_bench.claims.claim_tests import ClaimTest, above, equal, least_alike, tolerance
from pai_bench.claims.lookup import NOT_YET, ResultLookup
from pai_bench.claims.metric_registry import Kind
from pai_bench.claims.paired_tests import holm
from pai_bench.claims.power import MOST, POWER, seeds_needed
from pai_bench.claims.schema import Claim, Claims, hyper_of
from pai_bench.claims.statistics import CONFIDENCE

State = Literal["reproduced", "not reproduced", "inconclusive", "not run"]
STATES: tuple[State, ...] = ("reproduced", "not reproduced", "inconclusive", "not run")
SEEDS = 3
"""Fewest seeds of a verdict."""
RULES: Mapping[Kind, str] = {
    "absolute": "the 95 % t interval of our mean minus the printed value lies inside the tolerance",
    "flops": "the 95 % t interval of our number minus the printed one lies inside the tolerance",
    "size": "the 95 % t interval of our mean minus the printed size lies inside the tolerance",
    "spectrum": "the 95 % t interval of our mean minus the printed value lies inside the tolerance",
    "replay": "for each printed run, the 95 % t interval of its replicas' mean minus the printed"
    " value lies inside the tolerance (numbers are of the run that agrees least)",
    "ordering": "the 95 % t interval of the differences, paired by seed, lies above 0",
}
"""When a claim is reproduced, in a line; Holm's adjusted p must be below 5 % too."""


@dataclass(frozen=True)
class Verdict:
    """What became of one claim, with all that it rests on."""

    claim: Claim
    state: State
    reason: str
    n: int = 0
    test: ClaimTest | None = None
    adjusted: float | None = None
    """p among all tested claims of the paper."""
    deviations: tuple[str, ...] = ()
    """Known differences between our cells and what the paper ran."""
    command: str = ""
    """What runs the claim's cells again."""
    seeds: str = ""
    """Where their number was not fixed before any result was seen: that it was not."""
    needed: int | None = None
    """Seeds that would probably decide it, where it is inconclusive and that is known."""
    failed: tuple[int, ...] = ()
    """Seeds whose networks failed: the claim is not decided by the others."""


def judge(claims: Claims, measured: ResultLookup) -> list[Verdict]:
    """Judge every claim of a paper by what was measured."""
    verdicts = [_alone(claim, claims, measured) for claim in claims.claims]
    tested = [i for i, verdict in enumerate(verdicts) if verdict.n >= SEEDS and not verdict.failed]
    for replayed in (False, True):
        family = [index for index in tested if bool(verdicts[index].claim.replay) == replayed]
        tests = [test for index in family if (test := verdicts[index].test) is not None]
        adjusted = holm([test.p for test in tests])
        undecided = sum(p >= 1 - CONFIDENCE for p in adjusted)
        for index, test, p in zip(family, tests, adjusted, strict=True):
            decided = _decided(verdicts[index], test, p, len(tests))
            verdicts[index] = _with_seeds_needed(decided, test, undecided)
    return verdicts


def _with_seeds_needed(verdict: Verdict, test: ClaimTest, undecided: int) -> Verdict:
    """Say how many seeds would decide a claim, were it the next of the undecided ones."""
    if verdict.state != "inconclusive":
        return verdict
    needed = seeds_needed(test, (1 - CONFIDENCE) / undecided)
    unit = "replicas" if verdict.claim.replay else "seeds"
    number = f"some {needed}" if needed else f"more than {MOST}" if test.scatter.deviation else ""
    more = f"; {number} {unit} would decide it ({POWER:.0%} power at this spread)" * bool(number)
    return replace(verdict, reason=verdict.reason + more, needed=needed)


def tally(verdicts: Iterable[Verdict]) -> dict[State, int]:
    """Count verdicts by state."""
    states = [verdict.state for verdict in verdicts]
    return {state: states.count(state) for state in STATES}


def _alone(claim: Claim, claims: Claims, measured: ResultLookup) -> Verdict:
    """Test one claim, not yet among the others."""
    if claim.replay:
        return _of_replays(claim, claims, measured)
    if claim.untestable or claim.suite is None:
        return Verdict(claim, "not run", claim.untestable or "no suite runs it")
    parts = [(claim.method, claim.suite), (claim.against, claim.against_suite)]
    compared = [(method, suite) for method, suite in parts if method is not None and suite]
    suites = claims.content.suites
    of_suites = [line for _, suite in compared for line in suites[suite].deviations]
    deviations = tuple(dict.fromkeys([*claim.deviations, *of_suites]))
    measurements = [measured.values(claim, method, suite) for method, suite in compared]
    reasons = [values for values in measurements if isinstance(values, str)]
    if reasons:
        again = command(claim, _verb(claim)) if set(reasons) == {NOT_YET} else ""
        return Verdict(claim, "not run", reasons[0], deviations=deviations, command=again)
    test, n = _tested(claim, [values for values in measurements if not isinstance(values, str)])
    by_counting = all(measured.is_counted(claim, method, suite) for method, suite in compared)
    again = command(claim, _verb(claim, by_counting))
    seen = [
        suites[suite].seeds_seen if claim.seeds_seen is None else claim.seeds_seen
        for _, suite in compared
    ]
    settled = "" if by_counting else settled_after(seen)
    verdict = Verdict(claim, "inconclusive", "", n, test, None, deviations, again, settled)
    few = f"{n} seed{'s' * (n != 1)}, a verdict needs {SEEDS}"
    failed = {seed for method, suite in compared for seed in measured.failed(claim, method, suite)}
    if failed:
        of_seeds = f"seed{'s' * (len(failed) != 1)} {', '.join(map(str, sorted(failed)))}"
        reason = f"{of_seeds} failed, and what is left of a line without them is a choice of runs"
        return replace(verdict, reason=reason, failed=tuple(sorted(failed)))
    return replace(verdict, reason=few) if n < SEEDS else verdict


def settled_after(seen: Sequence[int | None]) -> str:
    """Say what had been seen when the number of seeds was settled; empty where nothing had."""
    known = [number for number in seen if number is not None]
    if len(known) < len(seen):
        return "whether their number was fixed before any result was seen is not recorded"
    return f"their number was settled after {max(known)} had been seen" if max(known) else ""


def _of_replays(claim: Claim, claims: Claims, measured: ResultLookup) -> Verdict:
    """Test a claim by replays of the program that printed it."""
    replay = claims.content.replays[claim.replay]
    again = (
        f"pai-bench replay {claim.paper} --programs {claim.replay} --steps {max(1, int(claim.at))}"
    )
    values = measured.replays(claim)
    if isinstance(values, str):
        return Verdict(claim, "not run", values, deviations=replay.deviations, command=again)
    n, test = min(map(len, values.values())), least_alike(values, claim)
    reason = f"{n} replica{'s' * (n != 1)}, a verdict needs {SEEDS}"
    settled = settled_after([replay.seeds_seen])
    return Verdict(claim, "inconclusive", reason, n, test, None, replay.deviations, again, settled)


def _tested(claim: Claim, by_seed: Sequence[Mapping[int, float]]) -> tuple[ClaimTest | None, int]:
    if claim.value is None:
        seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
        differences = [by_seed[0][seed] - by_seed[1][seed] for seed in seeds]
        return (above(differences) if seeds else None), len(seeds)
    values = [by_seed[0][seed] for seed in sorted(by_seed[0])]
    return equal(values, claim.value, tolerance(values, claim)), len(values)


def _decided(verdict: Verdict, test: ClaimTest, adjusted: float, family: int) -> Verdict:
    """Give a verdict by the p-value among all tested claims."""
    inside = test.p_inside < test.p_outside
    level = 1 - CONFIDENCE
    state: State = "inconclusive"
    if adjusted < level:
        state = "reproduced" if inside else "not reproduced"
    reason = _where(verdict.claim, test, inside, test.p < level)
    if test.p < level <= adjusted:
        reason += f", alone, but not among all {family} tested claims"
    return replace(verdict, state=state, reason=reason, adjusted=adjusted)


def _where(claim: Claim, test: ClaimTest, inside: bool, clear: bool) -> str:
    """Say where the interval lies."""
    if claim.kind == "ordering":
        side = ("above 0" if inside else "below 0") if clear else "on both sides of 0"
        return f"the interval of the difference lies {side}"
    of_runs = bool(test.slack)
    if not clear:
        where = f"partly inside the tolerance{', or as near as runs scatter' * of_runs}"
    elif inside:
        where = "inside the tolerance"
    else:
        where = f"outside the tolerance{', farther than runs scatter' * of_runs}"
    return f"the interval of the difference lies {where}"


def _verb(claim: Claim, by_counting: bool = False) -> str:
    """The command of `pai-bench` that makes what a claim is tested by."""
    return "spectrum" if claim.of_untrained else "account" if by_counting else "run"


def command(claim: Claim, verb: str = "run") -> str:
    """The command that runs the cells of a claim again, counts them or measures their spectra."""
    by_suite: dict[str, list[str]] = {}
    for entry, suite in ((claim.method, claim.suite), (claim.against, claim.against_suite)):
        if entry is not None and suite:
            by_suite.setdefault(suite, []).append(hyper_of(entry)[0])
    densities = "" if claim.density == 1 else f" --densities {claim.density_text}"
    options = {suite: ",".join(dict.fromkeys(methods)) for suite, methods in by_suite.items()}
    return " && ".join(
        f"pai-bench {verb} {shlex.quote(suite)} --methods {methods}{densities}"
        for suite, methods in options.items()
    )
