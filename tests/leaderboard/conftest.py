"""A small store with results of two methods, what is made from it, and what that must hold."""

import fcntl
import importlib.util
import json
import os
import re
import select
import shutil
import subprocess
from collections import defaultdict
from functools import partial
from html import unescape
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats

from pai_bench.claims.lookup import ResultLookup
from pai_bench.experiment import grid
from pai_bench.experiment.cell import PROTOCOL
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.page import PageHeading, page
from pai_bench.leaderboard.wandb.report import report
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store


@pytest.fixture(autouse=True)
def wandb_offline(surroundings, monkeypatch):
    """W&B writes its runs to the disk."""
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture(scope="module")
def cells(settings, methods):
    chosen = grid.Selection(("dense", "snip"), (0.1,), (1, 2))
    return grid.cells(settings, methods, "quick", chosen)


@pytest.fixture(scope="module")
def store(tmp_path_factory, cells):
    store = Store(tmp_path_factory.mktemp("results"), "quick")
    for cell in cells:
        last = 0.9 + cell.seed / 100 + (cell.method == "snip") / 64
        curves = {
            "test_accuracy": [0.5 + cell.seed / 10, last],
            "train_loss": [1.0, cell.seed / 16],
            "test_loss": [1.0, 0.2],
        }
        environment = {"torch": "2.13", "data": {"source": "/home/somebody/mirror/digits"}}
        result = Result(
            "done", accuracy=Accuracy(last, last, 2), density=cell.density, effective=0.05,
            hyper={"images": 100}, seconds={"total": 2.0 * cell.seed}, environment=environment,
        )  # fmt: skip
        store.put(cell, result, curves)
    return store


@pytest.fixture(scope="module")
def made(store, cells):
    return board(store, "quick", cells, {"ntk-sap"})


@pytest.fixture(scope="module")
def paged(store, made, settings, methods):
    heading = PageHeading("quick", "about", "pai-bench run quick", "pai-bench leaderboard")
    measured = ResultLookup(settings, methods, [store.folder.parent])
    return page(heading, [made], settings, methods, measured)


@pytest.fixture(scope="module")
def told(made, paged, settings):
    return report(made, paged, settings)


@pytest.fixture(scope="module")
def expected(store):
    """What each run in W&B must hold, by the name that it shows: computed from the store alone."""
    lines = defaultdict(list)
    for entry in store.entries(store.ids()):
        lines[entry.cell.method, entry.cell.density].append(entry)
    found = {}
    for (method, density), line in sorted(lines.items()):
        line.sort(key=lambda entry: entry.cell.seed)
        found[f"{method} · density {density:g}"] = _expected_line(method, line)
    return {**found, "leaderboard · quick": _expected_board(list(found.values()))}


def _expected_line(method, line):
    cell, history = line[0].cell, _epochs(line)
    kind = "reference" if method == "dense" else "baseline"
    resolved = {k: v for k, v in cell.resolved().items() if k != "seed"}
    row = {"line": method, "method": method, "kind": kind, **_numbers(line)}
    seconds = fmean(entry.result.seconds["total"] for entry in line)
    return {
        "group": f"quick · {method}",
        "job_type": "train",
        "tags": ["quick", method, cell.network, cell.data, kind, f"protocol-{PROTOCOL}"],
        "config": {
            **json.loads(json.dumps(resolved)),
            "suite": "quick",
            "hyper": {"images": 100},
            "seeds": [1, 2],
            "cells": [entry.cell.id for entry in line],
            "environment": {"torch": "2.13", "data": {"source": "digits"}},
            "environments": {
                f"seed-{seed}": {"torch": "2.13", "data": {"source": "digits"}} for seed in (1, 2)
            },
        },
        "history": history,
        "summary": {
            **history[-1],
            **_numbers(line),
            **{f"seed-{e.cell.seed}/accuracy": e.result.accuracy.last for e in line},
            "seconds": seconds,
        },
        "row": row,
    }


def _expected_board(lines):
    rows = [line["row"] for line in lines]
    points = sorted((row["density"], row["line"], row["mean"]) for row in rows)
    return {
        "group": "quick",
        "job_type": "leaderboard",
        "tags": ["quick", "leaderboard", f"protocol-{PROTOCOL}"],
        "history": [{"density": d, f"accuracy/{line}": mean} for d, line, mean in points],
        "rows": rows,
    }


def _numbers(line):
    values = [entry.result.accuracy.last for entry in line]
    low, high = stats.t.interval(0.95, 1, fmean(values), stats.sem(values))
    density = line[0].cell.density
    return {
        "density": density, "sparsity": 1 - density, "n": 2, "mean": fmean(values),
        "low": float(low), "high": float(high), "best_epoch": fmean(values),
        "achieved": density, "effective": 0.05, "collapsed": 0, "by_position": 0,
    }  # fmt: skip


def _epochs(line):
    curves = {entry.cell.seed: entry.curves() for entry in line}
    names = ("test_accuracy", "train_loss", "test_loss")
    return [
        {
            "epoch": epoch + 1,
            **{name: fmean(c[name][epoch] for c in curves.values()) for name in names},
            **{f"seed-{s}/test_accuracy": c["test_accuracy"][epoch] for s, c in curves.items()},
            "learning_rate": line[0].cell.recipe.lr,
            "seconds": 1.5 * (epoch + 1),
        }
        for epoch in range(2)
    ]


KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="session")
def start():
    """Start a server that speaks W&B's protocol, and has a key: `with start() as server`."""
    path = Path(__file__).with_name("wandb_server.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda: module.Server(KEY)


@pytest.fixture(scope="module")
def same():
    """Compare what the client made of a record with the record: `same(made, record)`."""

    def near(value):
        if isinstance(value, dict):
            return {key: near(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [near(inner) for inner in value]
        return pytest.approx(value, rel=1e-9) if isinstance(value, float) else value

    def compare(made, record):
        plain = {k: v for k, v in made.items() if not k.startswith("_")}
        assert plain == near(record)

    return compare


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)
DRAWN = """new Promise((resolve) => setTimeout(() => setTimeout(resolve))).then(
  () => document.documentElement.outerHTML)"""
"""The document, after all that had been queued when it was loaded (a change of address)."""


class Browser:
    """One headless browser, told over a pipe (DevTools protocol) what to open."""

    def __init__(self, program, profile):
        theirs, self._out = os.pipe()
        self._answers, ours = os.pipe()
        # Above 4, so that putting them at 3 and 4 overwrites neither.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs, ours)]
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=partial(_at_3_and_4, *ends),
        )
        for end in (theirs, ours, *ends):
            os.close(end)
        self._sent, self._read = 0, b""

    def html(self, address, width=800, dark=False):
        """Open a page of its own, return its elements when it is drawn, and close it."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        call = partial(self._call, session=attached["sessionId"])
        call("Page.enable")
        screen = {"width": width, "height": 600, "deviceScaleFactor": 1, "mobile": False}
        call("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        call("Emulation.setEmulatedMedia", features=[scheme])
        call("Page.navigate", url=address)
        self._until(lambda said: said.get("method") == "Page.loadEventFired")
        found = call("Runtime.evaluate", expression=DRAWN, awaitPromise=True, returnByValue=True)
        self._call("Target.closeTarget", targetId=target)
        return found["result"]["value"]

    def close(self):
        os.close(self._out)  # It ends with the pipe.
        os.close(self._answers)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _call(self, method, session=None, **parameters):
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda said: said.get("id") == self._sent)
        assert "error" not in answer, answer
        return answer["result"]

    def _until(self, wanted):
        """Return the first message that is wanted, of those that come within a minute each."""
        while True:
            while b"\0" not in self._read:
                assert select.select([self._answers], [], [], 60)[0], "the browser says nothing"
                part = os.read(self._answers, 65536)
                assert part, "the browser is gone"
                self._read += part
            message, _, self._read = self._read.partition(b"\0")
            said = json.loads(message)
            if wanted(said):
                return said


def _at_3_and_4(theirs, ours):
    """Where `--remote-debugging-pipe` has its ends."""
    os.dup2(theirs, 3)
    os.dup2(ours, 4)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One browser for all tests of a process."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no browser to draw the page with: install chromium (Debian, Ubuntu: "
                    "apt-get install chromium)")  # fmt: skip
    one = Browser(program, tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


SAVE = """<script>
const saved = {};
save = (name, type, text) => { saved[name] = text; };
for (const button of document.querySelectorAll("button.option"))
  if (button.textContent.startsWith("↓")) button.click();
document.title = JSON.stringify(saved);
</script></body>"""


@pytest.fixture
def saved_files(browser, tmp_path):
    """Give a function that presses all buttons of a page that save files, and returns the files."""

    def press(text, anchor="", dark=False):
        file = tmp_path / "saving.html"
        file.write_text(text.replace("</body>", SAVE), encoding="utf-8")
        shown = browser.html(file.as_uri() + anchor, dark=dark)
        return json.loads(unescape(re.search("<title>(.*)</title>", shown, re.S).group(1)))

    return press
