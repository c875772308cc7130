"""What a release consists of says the same everywhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pai_bench.core.project import VERSION

ROOT = Path(__file__).parents[1]


def test_the_version_is_asked_for_and_is_that_of_the_changelog_and_the_citation(call):
    with pytest.raises(SystemExit) as ended:
        call("--version")
    assert ended.value.code == 0
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_workflows_call_targets_that_exist():
    makefile = (ROOT / "Makefile").read_text()
    paths = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert len(paths) == 3
    for path in paths:
        jobs = yaml.safe_load(path.read_text())["jobs"]
        runs = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
        for target in re.findall(r"make ([a-z-]+)", "\n".join(runs)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_tag_that_the_release_asks_for_is_read_from_the_code():
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["build"]
    check = next(step["run"] for step in steps["steps"] if "GITHUB_REF_NAME" in step.get("run", ""))
    for tag, code in ((f"v{VERSION}", 0), (f"v{VERSION}.1", 1)):
        done = subprocess.run(
            ["bash", "-ec", check], cwd=ROOT, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
        )
        assert done.returncode == code, tag


def test_the_image_copies_what_exists():
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            assert all((ROOT / name).exists() for name in line.split()[1:-1]), line


def test_the_image_is_built_and_runs():
    engine = shutil.which("docker") or shutil.which("podman")
    if engine is None or subprocess.run([engine, "info"], capture_output=True).returncode:
        pytest.skip("no container engine runs here")
    built = subprocess.run([engine, "build", "-q", "-t", "pai-bench-test", ROOT], text=True,
                           capture_output=True)  # fmt: skip
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([engine, "run", "--rm", "pai-bench-test", "plan", "quick"], text=True,
                         capture_output=True)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "201" in ran.stdout or "quick" in ran.stdout
