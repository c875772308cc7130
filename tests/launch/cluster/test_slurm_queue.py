"""What Slurm says of jobs, read."""

import pytest

from pai_bench.launch.cluster import slurm_queue
from pai_bench.launch.cluster.queued import QueuedJob

SHOWN = "JobId=5 ArrayJobId=4 JobState={} Reason=None Requeue=1 DerivedExitCode=0:0 ExitCode={} X=y"


@pytest.fixture
def says(monkeypatch):
    """Let the programs answer: says(squeue=..., scontrol=..., sacct=...); None is a failure."""

    def answer(**answers):
        monkeypatch.setattr(slurm_queue, "_output", lambda program, *_: answers.get(program))

    return answer


def test_jobs_are_listed_by_id(says):
    says(squeue="4_0|RUNNING|n1|1:02|None\n4_1|PENDING||0:00|Resources\nnoise\n")
    jobs = slurm_queue.queued_jobs()
    assert jobs == {
        "4_0": QueuedJob("4_0", "RUNNING", "n1", "1:02", "None"),
        "4_1": QueuedJob("4_1", "PENDING", "", "0:00", "Resources"),
    }
    assert not any(map(slurm_queue.is_over, jobs.values()))
    says(squeue=None)
    assert slurm_queue.queued_jobs() is None


def test_a_job_that_is_being_ended_does_not_run(says):
    for state, runs in (("RUNNING\n", True), ("COMPLETING\n", False), ("", False), (None, False)):
        says(squeue=state)
        assert slurm_queue.is_running("5") == runs


@pytest.mark.parametrize(
    ("state", "code", "kind", "reason"),
    [
        ("COMPLETED", "0:0", "lost", "COMPLETED"),
        ("NODE_FAIL", "0:0", "lost", "NODE_FAIL"),
        ("PREEMPTED", "0:15", "lost", "PREEMPTED"),
        ("CANCELLED", "0:15", "ended", "cancelled"),
        ("TIMEOUT", "0:15", "timeout", "more minutes"),
        ("OUT_OF_MEMORY", "0:125", "faulty", "memory_gb"),
        ("FAILED", "137:0", "faulty", "memory_gb"),
        ("FAILED", "0:9", "faulty", "memory_gb"),
        ("FAILED", "139:0", "died", "signal 11 (SIGSEGV)"),
        ("FAILED", "0:11", "died", "signal 11 (SIGSEGV)"),
        ("FAILED", "3:0", "died", "exit code 3: the last word"),
    ],
)
def test_the_machine_is_told_from_what_was_trained(says, tmp_path, state, code, kind, reason):
    log = tmp_path / "log"
    log.write_text("the first word\nthe last word\n")
    sacct = f"{state} by 0|{code}\n" if state == "CANCELLED" else f"{state}|{code}\n"
    for answers in ({"scontrol": SHOWN.format(state, code)}, {"sacct": sacct}):
        says(**answers)
        end = slurm_queue.end_of("4_0", None, log)
        assert (end.kind, reason in end.reason) == (kind, True), end


def test_a_job_that_nobody_knows_of_is_lost(says, tmp_path):
    says()
    assert slurm_queue.is_over(None)
    assert slurm_queue.end_of("4_0", None, tmp_path / "none").kind == "lost"


def test_a_job_that_can_never_start_is_a_fault(says, tmp_path):
    says()
    held = QueuedJob("4", "PENDING", reason="launch failed requeued held")
    assert slurm_queue.is_over(held)
    assert slurm_queue.end_of("4", held, tmp_path / "none").kind == "faulty"
    assert not slurm_queue.is_over(QueuedJob("4", "PENDING", reason="JobHeldUser"))


def test_numbers_that_are_no_signals_have_no_name(tmp_path):
    assert slurm_queue._cause_of_death(255, tmp_path) == "the job ended with exit code 255: no word"
