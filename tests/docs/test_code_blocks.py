"""Every code block of the documentation and the README works: page by page, in its order.

Python runs, files are written where their title says, YAML is read. Commands run in a folder of
their own, on digits trained for one epoch, in this process. A block whose title says what it needs
(hours, a GPU, a download) is parsed, and the suites and papers that it names must exist.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from pai_bench.cli.main import main
from pai_bench.cli.parser import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").rglob("*.md"))]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
OTHERS = ("export", "source", "wandb", "hf", "pip", "git", "docker", "jupyter", "srun", "torchrun")
"""Programs that are not ours."""
CHECKOUT = "in the checkout"
"""Title of commands that need a folder beside the papers': tests/test_new_paper.py runs them."""


def generated(page):
    return "methods" in page.parts or page.name == "commands.md"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if not generated(p)], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_code_blocks(page, folder, capfd):
    if page.name == "figures.md":
        pytest.importorskip("matplotlib", reason="figures need matplotlib")
    names = {"__name__": page.stem}
    for language, title, code in FENCE.findall(page.read_text()):
        if language == "python" and not title:
            exec(compile(code, page.name, "exec"), names)
        elif language in ("python", "yaml") and title:
            written(folder / title, code)
        elif language == "yaml":
            yaml.safe_load(code)
        else:
            assert language == "sh", f"{page}: a block of {language}"
            check = parsed if title else ran
            for line in commands(code) if title != CHECKOUT else ():
                check(line, capfd)


def written(path, code):
    """A file that a page shows; a later block of the same title goes on with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    if path.suffix == ".py":
        compile(code, path.name, "exec")


def commands(code):
    """The commands of a block that are ours, as arguments of pai-bench."""
    for line in code.splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] in OTHERS:
            continue
        if words[0] == "make":
            yield from made(words[1:])
        else:
            assert words[0] == "pai-bench", line
            yield words[1:]


def made(arguments):
    """What a target of the Makefile calls, without the installation before it."""
    told = subprocess.run(
        ["make", "--dry-run", "--old-file=.venv/.installed", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "MAKEFLAGS": ""},
    ).stdout  # fmt: skip
    for line in told.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words and words[0].endswith("/pai-bench"):
            yield words[1:]


def ran(arguments, capfd):
    code = main(list(arguments))
    captured = capfd.readouterr()
    assert code == 0, f"{shlex.join(arguments)}: {captured.err}"


def parsed(arguments, capfd):
    asked = build_parser().parse_args(arguments)
    if paper := getattr(asked, "paper", None):
        ran(["plan", "--paper", paper], capfd)
    elif suite := getattr(asked, "suite", None):
        ran(["plan", suite], capfd)
