"""The mirror online, against a small server on this machine: what reaches it, and what does not."""

import base64
import json
import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pai_bench.leaderboard.wandb import mirror as ours
from pai_bench.leaderboard.wandb.report import (
    Curves,
    ReportHeading,
    ReportTable,
    Text,
    table,
    written,
)

ROOT = Path(__file__).parents[2]
PROJECT = "tester/pai-bench"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where commands run."""
    return tmp_path_factory.mktemp("online")


@pytest.fixture(scope="module")
def server(start):
    with start() as server:
        yield server


def surroundings_of(server, **more):
    without = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    return {**without, "PYTHONPATH": str(ROOT), "WANDB_BASE_URL": server.url, **more}


def command(arguments, folder, surroundings):
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=surroundings, timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def printed(server, folder, store):
    """What `pai-bench leaderboard --wandb` prints to somebody who is logged in by a variable."""
    arguments = (
        "pai_bench", "leaderboard", "--suite", "quick", "--wandb",
        "--runs", str(store.folder.parent), "--config", str(ROOT / "benchmark.yaml"),
    )  # fmt: skip
    return command(arguments, folder, surroundings_of(server, WANDB_API_KEY=server.key))


def everything(folder):
    """All bytes of all files below a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def left(printed, folder, store):
    """All bytes that the command has left: the client's folder, and results with their page."""
    return everything(folder), everything(store.folder)


@pytest.fixture(scope="module")
def reached(printed, left, server):
    """What that command has brought to the server, as it was before other tests."""
    names = ("runs", "history", "summary", "files", "artifacts", "views", "unknown", "refused")
    return SimpleNamespace(**{name: deepcopy(getattr(server, name)) for name in names})


@pytest.fixture(scope="module")
def by_name(reached):
    """Runs by the name that they show."""
    return {run["displayName"]: run for run in reached.runs.values()}


def test_the_server_knew_every_request_and_each_had_the_key(reached):
    assert reached.history
    assert not reached.unknown
    assert not reached.refused


def test_the_runs_of_the_store_reach_the_server_and_no_others(by_name, expected):
    assert set(by_name) == set(expected)
    for name, wanted in expected.items():
        run = by_name[name]
        assert (run["project"], run["groupName"], run["jobType"]) == (
            "pai-bench", wanted["group"], wanted["job_type"],
        )  # fmt: skip
        assert run["tags"] == wanted["tags"]


def test_each_run_on_the_server_holds_what_the_store_holds(by_name, reached, expected, same):
    for name, wanted in expected.items():
        run = by_name[name]["name"]
        points = wanted["history"]
        for record, point in zip(reached.history[run][: len(points)], points, strict=True):
            same(record, point)
        if "leaderboard" not in name:
            assert len(reached.history[run]) == len(points)
            config = json.loads(by_name[name]["config"])
            same({key: kept["value"] for key, kept in config.items()}, wanted["config"])
            same(reached.summary[run], wanted["summary"])


def test_table_and_artifact_reach_the_server(reached, expected, same):
    found = {a["artifactTypeName"]: (key, a) for key, a in reached.artifacts.items()}
    assert set(found) == {"leaderboard", "run_table"}
    assert all(artifact["committed"] for _, artifact in found.values())
    key, artifact = found["leaderboard"]
    assert artifact["runName"] == "leaderboard-quick"
    rows = json.loads(reached.files[f"{key}/leaderboard.json"])["rows"]
    of_lines = {row["line"]: row for row in rows if row["n"]}
    table_of = json.loads(reached.files[f"{found['run_table'][0]}/leaderboard.table.json"])
    shown = [dict(zip(table_of["columns"], row, strict=True)) for row in table_of["data"]]
    for wanted in expected["leaderboard · quick"]["rows"]:
        made = of_lines[wanted["line"]]
        same({name: made[name] for name in wanted}, wanted)
        same(next(row for row in shown if row["n"] and row["line"] == wanted["line"]), wanted)
    report = reached.files[f"{key}/report.md"].decode()
    assert report.startswith("# PaI-Bench quick\n")


def test_the_report_is_made_and_its_address_printed(printed, server, reached, expected, by_name):
    (report,) = reached.views.values()
    assert report["displayName"] == "PaI-Bench quick"
    assert report["type"] == "runs"
    address = f"{server.url}/{PROJECT}/reports/PaI-Bench-quick--{report['id']}"
    assert f"report   {address}" in printed
    text = report["spec"]
    for name, wanted in expected.items():
        run = by_name[name]["name"]
        if "leaderboard" not in name:
            mean = f"{100 * wanted['summary']['mean']:.2f} ±"
            line = f"[{wanted['row']['line']}]({server.url}/{PROJECT}/runs/{run}) | "
            assert mean in text[text.index(line) :].split("\\n")[0]
        assert f'"value":["{run}"]' in text


def again(made, told, settings, folder, **login):
    """Write the board's first row and a report once more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_MODE", raising=False)
        for name, value in login.items():
            patch.setenv(name, value)
        first = replace(made, rows=made.rows[:1])
        return ours.mirror(first, told, settings, folder / "wandb", "auto", rebuild=True)


@pytest.fixture(scope="module")
def netrc(server, tmp_path_factory):
    path = tmp_path_factory.mktemp("home") / "netrc"
    machine = server.url.removeprefix("http://")
    path.write_text(f"machine {machine}\n  login user\n  password {server.key}\n")
    return {"NETRC": str(path), "WANDB_BASE_URL": server.url}


@pytest.mark.slow
def test_a_report_is_written_over_and_made_anew_where_it_was_deleted(
    reached, server, folder, made, told, settings, netrc
):
    (before,) = reached.views
    changed = replace(told, blocks=(*told.blocks, Text("A last word.")))
    found = again(made, changed, settings, folder, **netrc)
    assert (found.mode, found.written, found.problem) == ("online", 2, "")
    assert list(server.views) == [before]
    assert server.views[before]["spec"].count("A last word.") == 1
    assert found.report.endswith(before)
    server.views[before] = None
    found = again(made, told, settings, folder, **netrc)
    (after,) = (name for name, view in server.views.items() if view is not None)
    assert after != before
    assert found.report.endswith(after)
    check_blocks(server.views[after], told, server.url)


def check_blocks(view, told, url):
    """Each block of our own is one of W&B's, in order."""
    blocks = json.loads(view["spec"])["blocks"][1:-1]
    for block, wanted in zip(blocks, told.blocks, strict=True):
        if isinstance(wanted, ReportHeading):
            assert (block["type"], block["level"]) == ("heading", wanted.level)
            assert block["children"] == [{"text": wanted.text}]
        elif isinstance(wanted, Curves):
            check_curves(block["metadata"], wanted)
        else:
            text = (
                wanted.markdown if isinstance(wanted, Text) else table(wanted, f"{url}/{PROJECT}")
            )
            assert (block["type"], block["content"]) == ("markdown-block", text)
    assert {ReportHeading, Text, ReportTable, Curves} == {type(block) for block in told.blocks}


def check_curves(grid, wanted):
    (runs,) = grid["runSets"]
    assert runs["project"] == {"name": "pai-bench", "entityName": "tester", "id": "internal-P"}
    assert runs["grouping"] == []
    (chosen,) = runs["filters"]["filters"]
    assert (chosen["key"], chosen["op"]) == ({"section": "run", "name": "name"}, "IN")
    assert chosen["value"] == list(wanted.runs)
    panels = [panel["config"] for panel in grid["panelBankSectionConfig"]["panels"]]
    assert [(p["chartTitle"], p["xAxis"], p["metrics"], p["xLogScale"]) for p in panels] == [
        (plot.title, plot.x, list(plot.y), plot.logarithmic) for plot in wanted.plots
    ]


def test_runs_are_there_even_where_the_report_fails(
    printed, server, folder, made, told, settings, netrc, monkeypatch
):
    monkeypatch.setattr(server, "broken", {"upsertView"})
    found = again(made, told, settings, folder, **netrc)
    assert (found.mode, found.written, found.problem) == ("online", 2, "")
    assert found.report == ""
    assert "no upsertView today" in found.report_problem


def test_what_was_written_offline_can_be_synced(start, tmp_path, made, told, settings, expected):
    first = replace(made, rows=made.rows[:1])
    ours.mirror(first, told, settings, tmp_path / "wandb", "offline")
    assert start().key.encode() not in everything(tmp_path)
    with start() as other:
        surroundings = surroundings_of(other, WANDB_API_KEY=other.key)
        folders = [str(path) for path in (tmp_path / "wandb").glob("offline-run-*")]
        command(("wandb", "sync", *folders), tmp_path, surroundings)
        names = {run["displayName"] for run in other.runs.values()}
        assert names == {"dense · density 1", "leaderboard · quick"}
        assert other.runs["leaderboard-quick"]["notes"] == told.short
        (key,) = (k for k, a in other.artifacts.items() if a["artifactTypeName"] == "leaderboard")
        assert other.files[f"{key}/report.md"].decode() == written(told)
        assert not other.unknown


def test_no_key_is_written_anywhere(printed, reached, left, server, folder):
    assert server.key not in printed
    for found in (*left, everything(folder), *server.files.values()):
        assert server.key.encode() not in found
        assert base64.b64encode(f"api:{server.key}".encode()) not in found
    assert server.key not in json.dumps([server.runs, server.views])
    assert all(len(found) > 1000 for found in left)
