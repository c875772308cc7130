"""Replays as files: whole, of one program, and noticed when altered."""

import json

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.store import replayed
from pai_bench.store.replayed import Replica
from pai_bench.store.result import Result

RESULT = Result(
    "replayed",
    replayed={"100": {"transfer-loss": 4.5}},
    hyper={"steps": 100},
    environment={"command": "pai-bench replay ntt --runs /somewhere/evidence"},
)


def test_what_is_written_is_read_by_run_and_replica(tmp_path):
    for replica in (Replica(2, 1), Replica(1, 10)):
        replayed.write(tmp_path, "ntt", "lenet-5", replica, RESULT)
    replayed.write(tmp_path, "ntt", "lenet-5-wide", Replica(1, 1), RESULT)
    found = replayed.read(tmp_path, "ntt", "lenet-5")
    assert sorted(found) == [Replica(1, 10), Replica(2, 1)]
    assert found[Replica(2, 1)].replayed == RESULT.replayed
    assert found[Replica(2, 1)].environment["command"] == "pai-bench replay ntt --runs evidence"


def test_a_replay_that_was_altered_is_refused(tmp_path):
    path = replayed.write(tmp_path, "ntt", "lenet-5", Replica(1, 1), RESULT)
    path.write_text(path.read_text().replace("4.5", "4.6"))
    with pytest.raises(BenchError, match="altered since it was written"):
        replayed.read(tmp_path, "ntt", "lenet-5")


def test_a_replay_that_is_half_written_is_to_be_removed_alone(tmp_path):
    path = replayed.write(tmp_path, "ntt", "lenet-5", Replica(1, 1), RESULT)
    path.write_text(path.read_text()[:100])
    with pytest.raises(BenchError, match=r"cannot be read .*; remove this file to replay"):
        replayed.read(tmp_path, "ntt", "lenet-5")


@pytest.mark.parametrize("record", [{}, {"result": 1, "digest": ""}, [], {"result": {}}])
def test_another_file_of_that_name_is_one_line(record, tmp_path):
    (tmp_path / "replay-ntt-lenet-5-run-1-1.json").write_text(json.dumps(record))
    with pytest.raises(BenchError, match=r"replay-ntt-lenet-5-run-1-1\.json"):
        replayed.read(tmp_path, "ntt", "lenet-5")


def test_a_folder_that_is_not_there_has_none(tmp_path):
    assert replayed.read(tmp_path / "nowhere", "ntt", "lenet-5") == {}


def test_results_of_cells_have_no_key_for_replays():
    assert "replayed" not in Result("done").to_json()
    assert Result.from_json(RESULT.to_json()) == RESULT
