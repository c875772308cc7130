"""The mirror against the real client, offline: what its log holds is what the store holds."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from filelock import FileLock

from pai_bench.leaderboard.wandb import mirror as ours
from pai_bench.leaderboard.wandb.report import written
from pai_bench.leaderboard.wandb.runs import runs

KEY = "0123456789abcdef0123456789abcdef01234567"


def inspect(folder, *options):
    """Read a run's transaction log with W&B's own tool."""
    command = Path(sys.executable).with_name("wandb")
    arguments = [str(command), "leet", "inspect", str(folder), *options, "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def log(folder):
    """The records of a run's transaction log, by type, as the client reads them back."""
    records = defaultdict(list)
    for line in inspect(folder).splitlines():
        record = json.loads(line)
        records[record["type"]].append(record[record["type"]])
    return records


def summary_of(records):
    """The summary as its updates leave it."""
    summary = {}
    for record in records["summary"]:
        summary |= record["update"]
    return summary


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mirror") / "wandb"


@pytest.fixture(scope="module")
def mirrored(folder, made, told, settings):
    """Folder and log of each offline run, by the name that it shows."""
    found = ours.mirror(made, told, settings, folder, "offline")
    assert found == ours.Mirrored("offline", written=3, unchanged=0)
    logs = {folder: log(folder) for folder in folder.glob("offline-run-*")}
    return {records["run"][0]["display_name"]: (folder, records)
            for folder, records in logs.items()}  # fmt: skip


def test_the_log_holds_the_runs_of_the_store_and_no_others(mirrored, expected):
    assert set(mirrored) == set(expected)
    for name, wanted in expected.items():
        (run,) = mirrored[name][1]["run"]
        assert (run["project"], run["run_group"], run["job_type"]) == (
            "pai-bench", wanted["group"], wanted["job_type"],
        )  # fmt: skip
        assert run["tags"] == wanted["tags"]


def test_the_log_of_each_method_and_density_holds_what_the_store_holds(mirrored, expected, same):
    lines = [name for name in expected if "leaderboard" not in name]
    assert len(lines) == 2
    for name in lines:
        records, wanted = mirrored[name][1], expected[name]
        same(records["run"][0]["config"]["update"], wanted["config"])
        for record, epoch in zip(records["history"], wanted["history"], strict=True):
            same(record["item"], epoch)
        same(summary_of(records), wanted["summary"])
        assert not records["artifact"]


def test_the_log_of_the_leaderboard_holds_what_the_store_holds(mirrored, expected, told, same):
    folder, records = mirrored["leaderboard · quick"]
    wanted, run = expected["leaderboard · quick"], records["run"][0]
    assert (run["run_id"], run["notes"]) == ("leaderboard-quick", told.short)
    config = run["config"]["update"]
    assert (config["suite"], config["seeds"], config["evaluated"]) == ("quick", [1, 2], "test")
    *points, last = [record["item"] for record in records["history"]]
    for record, point in zip(points, wanted["history"], strict=True):
        same(record, point)
    (file,) = (folder / "files").rglob("*.table.json")
    assert last["leaderboard.sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    table = json.loads(file.read_text())
    for row, of_line in zip(table["data"], wanted["rows"], strict=True):
        same(dict(zip(table["columns"], row, strict=True)), of_line)
    assert summary_of(records)["cells"] == 4


def test_the_artifact_of_the_leaderboard_is_the_data_and_the_report(mirrored, expected, told, same):
    folder, records = mirrored["leaderboard · quick"]
    (artifact,) = (a for a in records["artifact"] if a["type"] == "leaderboard")
    assert artifact["name"] == "leaderboard-quick"
    found = {entry["path"]: entry for entry in artifact["manifest"]["contents"]}
    assert set(found) == {"leaderboard.json", "claims.json", "report.md"}
    for name, entry in found.items():
        content = (folder / "files" / name).read_bytes()
        assert entry["local_path"] == str((folder / "files" / name).resolve())
        assert int(entry["size"]) == len(content)
        assert entry["digest"] == base64.b64encode(hashlib.md5(content).digest()).decode()
    assert (folder / "files/report.md").read_text() == written(told)
    data = json.loads((folder / "files/leaderboard.json").read_text())
    rows = expected["leaderboard · quick"]["rows"]
    for row, of_line in zip(data["rows"], rows, strict=True):
        same({key: row[key] for key in of_line}, of_line)


def test_nothing_lands_outside_of_the_folder(folder, mirrored):
    _, records = mirrored["leaderboard · quick"]
    for artifact in records["artifact"]:
        for entry in artifact["manifest"]["contents"]:
            assert entry["local_path"].startswith(str(folder))


@pytest.fixture
def copied(tmp_path, folder, mirrored):
    """A folder of offline runs of one's own."""
    return shutil.copytree(folder, tmp_path / "wandb", symlinks=True)


@pytest.mark.slow
def test_unchanged_runs_are_not_written_again_and_deleted_ones_are(copied, made, told, settings):
    assert ours.mirror(made, told, settings, copied, "offline") == ours.Mirrored("offline", 0, 3)
    shutil.rmtree(next(copied.glob("offline-run-*-leaderboard-quick")))
    assert ours.mirror(made, told, settings, copied, "offline") == ours.Mirrored("offline", 1, 2)
    counts = []
    found = ours.mirror(
        made,
        told,
        settings,
        copied,
        "offline",
        rebuild=True,
        on_written=lambda *c: counts.append(c),
    )
    assert found.written == 3
    assert counts == [(1, 3), (2, 3), (3, 3)]
    assert len(list(copied.glob("offline-run-*"))) == 3


def test_run_ids_are_the_same_each_time_and_differ(made, told, settings):
    one, other = ([run.id for run in runs(made, told, settings)] for _ in range(2))
    assert one == other
    assert len(set(one)) == len(one)


def test_disabled_writes_nothing(tmp_path, made, told, settings, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert ours.mirror(made, told, settings, tmp_path / "wandb", "auto").mode == "disabled"
    assert not (tmp_path / "wandb").exists()


def test_a_mode_that_was_asked_for_goes_before_the_environment(
    copied, made, told, settings, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert ours.mirror(made, told, settings, copied, "offline").unchanged == 3


@pytest.mark.slow
def test_where_the_server_cannot_be_reached_runs_stay_offline_and_that_is_said(
    tmp_path, made, told, settings, monkeypatch
):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(ours, "REACH", 2.0)
    found = ours.mirror(made, told, settings, tmp_path / "wandb", "auto")
    assert (found.mode, found.written) == ("offline", 3)
    assert found.problem
    assert KEY not in found.problem
    for path in (tmp_path / "wandb").rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes()


def test_a_mirror_that_hangs_is_given_up(tmp_path, made, told, settings, monkeypatch):
    monkeypatch.setattr(ours, "PATIENCE", 0.01)
    found = ours.mirror(made, told, settings, tmp_path / "wandb", "offline")
    assert "did not get through" in found.problem


def test_a_second_mirror_waits_and_then_says_who_is_at_work(made, told, settings, tmp_path):
    folder = tmp_path / "wandb"
    folder.mkdir()
    with FileLock(folder / ".mirror.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "PATIENCE", 4.0)
        found = ours.mirror(made, told, settings, folder, "offline")
    assert (found.written, found.problem) == (0, f"another process is writing to {folder}/")
    assert not list(folder.glob("offline-run-*"))


def test_a_folder_that_cannot_be_made_is_a_problem_in_words(made, told, settings, tmp_path, capfd):
    (tmp_path / "wandb").write_text("a file")
    found = ours.mirror(made, told, settings, tmp_path / "wandb", "offline")
    assert found.problem.startswith("FileExistsError: ")
    assert "Traceback" not in capfd.readouterr().err
