"""What becomes of jobs that end early, on a cluster that does as the test says."""

import os
import time
from dataclasses import replace

import pytest

from pai_bench.core.hardware import Hardware
from pai_bench.core.machine import MachineFault
from pai_bench.experiment.bundle import Bundle, bundles
from pai_bench.launch.cluster import follow, journal
from pai_bench.launch.cluster.follow import FollowedJob, Follower
from pai_bench.launch.cluster.journal import JournalWriter
from pai_bench.launch.cluster.queued import JobEnd
from pai_bench.launch.events import Finished, PutOff, Rejected, Started, Stopped
from pai_bench.launch.request import RunRequest
from pai_bench.store import checkpoint_files
from pai_bench.store.lease import Leases
from pai_bench.store.result import Result
from pai_bench.store.store import Store


class ScriptedCluster:
    """Each job does the next thing of the script: tells events, and ends somehow or goes on."""

    pace = 0.0

    def __init__(self, folder, *script):
        self.folder, self.script, self.submitted, self.cancelled = folder, list(script), [], []
        self._ends = {}

    def submit(self, bundles):
        jobs = []
        for bundle in bundles:
            folder = self.folder / str(len(self.submitted))
            folder.mkdir()
            job = FollowedJob(str(len(self.submitted)), bundle, folder)
            self.submitted.append(bundle)
            jobs.append(job)
            act = self.script.pop(0)
            end = act(bundle, JournalWriter(journal.path(folder, bundle)).tell)
            if end:
                self._ends[job.id] = end
        return jobs

    def ends(self, jobs):
        return {job.id: self._ends[job.id] for job in jobs if job.id in self._ends}

    def cancel(self, jobs):
        self.cancelled += [job.id for job in jobs]


def trains(bundle, tell):
    tell(Started(bundle))
    for cell in bundle:
        tell(Finished(cell, "done"))


def ends(kind, begun=True):
    def act(bundle, tell):
        if begun:
            tell(Started(bundle))
        return JobEnd(kind, f"it {kind}")

    return act


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(follow, "PAUSE", 0.0)


@pytest.fixture
def asked(quick, settings, tmp_path):
    cells = quick(methods=("snip",), densities=(0.2, 0.1), seeds=(1, 2))
    work = tuple(bundles([cell for cell in cells if cell.density < 1], 2))
    return RunRequest("quick", work, settings, tmp_path / "runs", Hardware())


def played(asked, tmp_path, *script, work=None):
    """Events of a run, the fault that ended it, and the cluster."""
    cluster, events, fault = ScriptedCluster(tmp_path, *script), [], None
    try:
        events += Follower(asked, cluster).follow([], asked.bundles if work is None else work)
    except MachineFault as error:
        fault = str(error)
    assert cluster.script == []
    return events, fault, cluster


def kinds(events):
    return [type(event).__name__ for event in events]


def test_what_goes_well_is_told_in_its_order(asked, tmp_path):
    events, fault, _ = played(asked, tmp_path, trains, trains)
    assert kinds(events) == ["Started", "Finished", "Finished"] * 2
    assert fault is None


def test_a_job_that_the_cluster_loses_is_submitted_again(asked, tmp_path):
    work = asked.bundles[:1]
    events, _, cluster = played(asked, tmp_path, ends("lost"), trains, work=work)
    assert kinds(events) == ["Started", "Stopped", "Started", "Finished", "Finished"]
    assert cluster.submitted == [work[0], work[0]]


def test_cells_that_were_finished_before_are_not_run_again(asked, tmp_path):
    work = asked.bundles[:1]

    def half(bundle, tell):
        tell(Finished(bundle.cells[0], "done"))
        return JobEnd("lost")

    _, _, cluster = played(asked, tmp_path, half, trains, work=work)
    assert [len(bundle) for bundle in cluster.submitted] == [2, 1]


def test_a_job_that_is_lost_again_and_again_gets_nowhere_and_fails_no_cell(asked, tmp_path):
    work = asked.bundles[:1]
    events, fault, _ = played(asked, tmp_path, *[ends("lost")] * follow.TRIES, work=work)
    assert "it lost" in fault
    assert "Finished" not in kinds(events)
    assert Store(asked.runs, "quick").ids() == []


@pytest.mark.parametrize("kind", ["lost", "timeout"])
def test_a_job_that_gets_on_is_submitted_as_often_as_need_be(kind, asked, tmp_path):
    def gets_on(bundle, tell):
        place = checkpoint_files.path(asked.runs, bundle)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        os.utime(place, (time.time() + 60,) * 2)
        return JobEnd(kind)

    work = asked.bundles[:1]
    events, fault, _ = played(asked, tmp_path, *[gets_on] * 6, trains, work=work)
    assert fault is None
    assert kinds(events)[-2:] == ["Finished"] * 2


def test_a_time_limit_before_the_first_checkpoint_is_no_failed_cell(asked, tmp_path):
    _, fault, _ = played(asked, tmp_path, ends("timeout"), trains)
    assert "it timeout" in fault
    assert Store(asked.runs, "quick").ids() == []


def test_of_a_bundle_that_dies_the_cell_that_dies_alone_has_failed(asked, tmp_path):
    work = asked.bundles[:1]
    events, fault, cluster = played(asked, tmp_path, ends("died"), ends("died"), trains, work=work)
    assert fault is None
    assert [len(bundle) for bundle in cluster.submitted] == [2, 1, 1]
    finished = {e.cell.id: e.status for e in events if isinstance(e, Finished)}
    first, second = work[0]
    assert finished == {first.id: "failed", second.id: "done"}
    assert Store(asked.runs, "quick").get(first.id).result.reason == "it died"


def test_a_job_that_gave_way_and_was_killed_then_is_submitted_again(asked, tmp_path):
    """As where the queue shows for a moment how the processes of a requeued job ended."""

    def gives_way(bundle, tell):
        tell(Started(bundle))
        tell(Stopped(bundle))
        return JobEnd("died", "task 0: Terminated")

    events, fault, cluster = played(asked, tmp_path, gives_way, trains, work=asked.bundles[:1])
    assert fault is None
    assert cluster.submitted == [asked.bundles[0]] * 2
    assert [e.status for e in events if isinstance(e, Finished)] == ["done", "done"]


def test_a_job_that_dies_before_it_begins_fails_no_cell(asked, tmp_path):
    """As where the environment is broken: every job would."""
    _, fault, _ = played(asked, tmp_path, ends("died", begun=False), ends("died", begun=False))
    assert "it died (and 1 more jobs)" in fault
    assert Store(asked.runs, "quick").ids() == []


@pytest.mark.parametrize("how", [ends("faulty"), lambda bundle, tell: tell(Rejected(bundle, "x"))])
def test_a_fault_of_the_machine_is_told_when_the_others_are_done(how, asked, tmp_path):
    events, fault, _ = played(asked, tmp_path, how, trains)
    assert str(asked.bundles[0]) in fault
    assert kinds(events).count("Finished") == 2


def test_a_cancelled_job_is_left(asked, tmp_path):
    events, fault, _ = played(asked, tmp_path, ends("ended"), trains)
    assert (kinds(events).count("Finished"), fault) == (2, None)


def test_after_the_deadline_nothing_is_submitted_again_and_the_rest_is_cancelled(
    quick, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(follow, "GRACE", 0.0)
    work = tuple(bundles(quick(methods=("dense",), seeds=(1, 2))))
    asked = RunRequest("quick", work, settings, tmp_path / "r", Hardware(), deadline=time.time())

    def goes_on(bundle, tell):
        tell(Started(bundle))

    events, fault, cluster = played(asked, tmp_path, ends("lost"), goes_on)
    assert fault is None
    assert [e.bundle for e in events if isinstance(e, Stopped)] == [work[0]]
    assert cluster.cancelled == ["1"]


def test_of_a_job_of_an_earlier_run_only_what_is_asked_for_counts(asked, tmp_path):
    whole = asked.bundles[0]
    _, second = whole
    job = FollowedJob("9", whole, tmp_path, {second.id})
    writer = JournalWriter(journal.path(tmp_path, whole))
    trains(whole, writer.tell)
    events = list(Follower(asked, ScriptedCluster(tmp_path)).follow([job], []))
    assert events == [Started(Bundle((second,))), Finished(second, "done")]


def test_results_count_that_the_journal_does_not_tell_of(asked, tmp_path):
    work = asked.bundles[:1]

    def stores(bundle, tell):
        for cell in bundle:
            Store(asked.runs, "quick").put(cell, Result("done"))
        return JobEnd("lost")

    events, fault, _ = played(asked, tmp_path, stores, work=work)
    assert (kinds(events), fault) == (["Started", "Finished", "Finished"], None)


def test_what_others_train_is_left_to_them(asked, tmp_path):
    first, second = work = asked.bundles[0]

    def puts_off(bundle, tell):
        tell(PutOff(bundle, (second,)))
        return trains(Bundle((first,)), tell)

    events, fault, cluster = played(asked, tmp_path, puts_off, work=(work,))
    assert fault is None
    assert PutOff(work, (second,)) in events
    assert [e.cell.id for e in events if isinstance(e, Finished)] == [first.id]
    assert cluster.submitted == [work]


def test_a_cell_whose_job_died_is_left_to_who_holds_its_lease(asked, tmp_path, monkeypatch):
    asked = replace(asked, settings=asked.settings.model_copy(update={"take_over": 0.2}))
    cell = asked.bundles[0].cells[0]
    lease = Leases(asked.runs, 60.0, "quick").acquire(cell.id)
    work = (Bundle((cell,)),)
    events, fault, _ = played(asked, tmp_path, ends("died"), work=work)
    assert fault is None
    assert events[-1] == PutOff(work[0], (cell,))
    assert Store(asked.runs, "quick").ids() == []
    lease.release()
