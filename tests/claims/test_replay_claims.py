"""Claims that are tested by replays of the program that printed them."""

import pytest

from pai_bench.claims import parser, verdicts
from pai_bench.claims.lookup import ResultLookup
from pai_bench.core.errors import BenchError
from pai_bench.store import replayed
from pai_bench.store.replayed import Replica
from pai_bench.store.result import Result

FILE = """
paper: ntt
authors: [Ann One]
year: 2020
sources: {log: {what: a log}}
replays:
  lenet-5: {deviations: [another program], seeds_seen: 2}
tables:
  loss: {about: loss, source: log, replay: lenet-5, metric: transfer-loss, columns: 0 100,
         rows: {NTT: "7.737,9.652 4.686,5.681"}}
"""


@pytest.fixture
def judged(tmp_path, settings, methods):
    """Judges FILE by losses: judged({run: [losses of replicas]}, step="100")."""
    path = tmp_path / "claims.yaml"
    path.write_text(FILE)

    def judge(losses, step="100"):
        for run, values in losses.items():
            for number, value in enumerate(values, 1):
                result = Result("replayed", replayed={step: {"transfer-loss": value}})
                replayed.write(tmp_path / "runs", "ntt", "lenet-5", Replica(run, number), result)
        measured = ResultLookup(settings, methods, [tmp_path / "runs"])
        return {v.claim.at: v for v in verdicts.judge(parser.load(path), measured)}

    return judge


def test_what_every_run_gives_again_is_reproduced(judged):
    found = judged({1: [4.6861, 4.6860, 4.6859], 2: [5.6811, 5.6810, 5.6809]})
    assert (found["100"].state, found["100"].n) == ("reproduced", 3)
    assert found["100"].deviations == ("another program",)
    assert found["100"].seeds == "their number was settled after 2 had been seen"
    assert found["0"].state == "not run"
    assert found["0"].command == "pai-bench replay ntt --programs lenet-5 --steps 1"


def test_one_run_that_differs_is_not_made_good_by_the_other(judged):
    found = judged({1: [4.686, 4.686, 4.686], 2: [5.673, 5.673, 5.673]})["100"]
    assert found.state == "not reproduced"
    assert found.test.ours.mean == pytest.approx(5.673)
    above_and_below = judged({1: [4.694] * 3, 2: [5.673] * 3})["100"]
    assert above_and_below.state == "not reproduced"


def test_the_printed_digits_are_the_tolerance_where_replicas_agree(judged):
    near, off = [4.6864] * 3, [4.6868] * 3
    assert judged({1: near, 2: [5.681] * 3})["100"].state == "reproduced"
    assert judged({1: off, 2: [5.681] * 3})["100"].state == "not reproduced"


def test_where_replicas_differ_more_of_them_are_asked_for(judged):
    found = judged({1: [4.70, 4.71, 4.72], 2: [5.681] * 3})["100"]
    assert found.state == "inconclusive"
    assert found.needed > 3
    assert f"some {found.needed} replicas would decide it" in found.reason


def test_a_run_that_was_not_replayed_leaves_the_claim_untested(judged):
    found = judged({1: [4.686] * 3})["100"]
    assert (found.state, found.test) == ("not run", None)


def test_few_replicas_give_no_verdict(judged):
    found = judged({1: [4.686] * 3, 2: [5.681] * 2})["100"]
    assert (found.state, found.reason) == ("inconclusive", "2 replicas, a verdict needs 3")


def test_the_longer_of_two_replays_counts(tmp_path, settings, methods, judged):
    judged({1: [4.686], 2: [5.681]})
    short = Result("replayed", replayed={})
    replayed.write(tmp_path / "a", "ntt", "lenet-5", Replica(1, 1), short)
    (claim, _) = parser.load(tmp_path / "claims.yaml").claims[::-1]
    for folders in (["a", "runs"], ["runs", "a"]):
        measured = ResultLookup(settings, methods, [tmp_path / folder for folder in folders])
        assert measured.replays(claim) == {1: {1: 4.686}, 2: {1: 5.681}}


@pytest.mark.parametrize("replay", ["replay: lenet-6", "replay: lenet-5, suite: quick"])
def test_a_replay_is_declared_and_stands_alone(replay, tmp_path):
    path = tmp_path / "claims.yaml"
    of_densities = FILE.replace("columns: 0 100", "densities: 0.5 0.1")
    path.write_text(of_densities.replace("replay: lenet-5", replay))
    with pytest.raises(BenchError, match="stands beside a suite or not under replays"):
        parser.load(path)
