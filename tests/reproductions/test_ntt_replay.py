"""The transfers of the authors' notebooks, replayed from their seeds."""

import pytest

from pai_bench.claims.parser import available
from pai_bench.core.project import ROOT
from pai_bench.data import sources
from pai_bench.reproductions.ntt.replay import KEPT, NOISE, PROGRAMS
from pai_bench.store import replayed
from pai_bench.store.replayed import Replica
from pai_bench.training.replay import replayed as replay_program
from pai_bench.training.search_checkpoint import SearchCheckpoint

MLP, CNN = "lenet-300-100", "lenet-5"
PRINTED = {
    (MLP, 1): [(0, 7.737, 6439.033, 1.022, 82.942), (100, 4.686, 3674.961, 0.732, 83.634)],
    (MLP, 2): [(0, 9.652, 8146.721, 1.228, 83.093), (100, 5.681, 4535.657, 0.852, 88.051)],
    (CNN, 1): [(0, 0.746, 633.828, 0.081, 91.942)],
    (CNN, 2): [(0, 0.556, 461.856, 0.063, 91.907)],
}


def replay(name, data, replica, steps):
    return PROGRAMS[name].replay(data, replica, steps, SearchCheckpoint(), lambda _step: None)


@pytest.mark.parametrize(("name", "run"), PRINTED, ids=str)
def test_a_replay_gives_what_the_notebooks_print(name, run, mirror, settings):
    data = sources.load("mnist", settings.data["mnist"], str(mirror))
    rows = PRINTED[name, run]
    values = replay(name, data, Replica(run, 1), rows[-1][0])
    assert list(values) == [str(row[0]) for row in rows]
    for step, *printed in rows:
        for found, expected in zip(values[str(step)].values(), printed, strict=True):
            assert found == pytest.approx(expected, rel=1e-5, abs=5e-4)


def test_replicas_differ_by_noise_alone(mirror, settings):
    data = sources.load("mnist", settings.data["mnist"], str(mirror))
    one, same, other = (replay(MLP, data, Replica(1, number), 0)["0"] for number in (1, 1, 2))
    assert one == same != other
    assert list(other.values()) == pytest.approx(list(one.values()), rel=10 * NOISE)


class Interrupt(Exception):
    pass


def test_a_replay_goes_on_where_it_was(mirror, settings, tmp_path, monkeypatch):
    """After an interrupt, and beyond the end of a shorter one; of run 2, which begins late."""
    monkeypatch.setattr(SearchCheckpoint, "every", 0.0)
    program, steps = PROGRAMS[MLP], []
    here = settings.model_copy(update={"mirror": str(mirror)})

    def stop(step):
        steps.append(step)
        if step == 20:
            raise Interrupt

    def replayed_to(length, path, on_step=steps.append):
        return replay_program(program, Replica(2, 1), length, here, tmp_path / path, on_step)

    whole = replayed_to(100, "whole")
    steps.clear()
    with pytest.raises(Interrupt):
        replayed_to(40, "parts", stop)
    shorter = replayed_to(40, "parts")
    longer = replayed_to(100, "parts")
    assert steps == [*range(1, 21), *range(20, 101)]
    assert list(shorter.replayed) == ["0"]
    assert longer.replayed == whole.replayed
    assert list(longer.replayed) == ["0", "100"]
    assert longer.seconds["total"] > shorter.seconds["total"]


def test_every_claim_on_a_transfer_has_a_step_that_is_kept():
    of_replays = [claim for claim in available()["ntt"].claims if claim.replay]
    assert len(of_replays) == 64
    assert {int(claim.at) for claim in of_replays} <= set(KEPT)
    assert {claim.replay for claim in of_replays} == set(PROGRAMS)
    assert all(len(claim.value.of_runs) == PROGRAMS[claim.replay].runs for claim in of_replays)


@pytest.mark.parametrize("name", PROGRAMS)
def test_kept_replays_are_whole_and_of_the_program_of_today(name, settings):
    kept = replayed.read(ROOT / "reproductions/ntt/evidence", "ntt", name)
    assert kept
    for result in kept.values():
        assert PROGRAMS[name].covers(result, 0)
        assert result.hyper["noise"] == NOISE
        assert result.environment["data"]["digest"] == settings.data["mnist"].digest
        assert not result.environment["commit"].endswith("+changes")
