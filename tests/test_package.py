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


def test_a_release_takes_its_version_from_the_tag(tmp_path):
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["build"]
    write = next(step["run"] for step in steps["steps"] if "GITHUB_REF_NAME" in step.get("run", ""))
    for name in ("CITATION.cff", "pai_bench/core/project.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 1.20.3, today\n")
    for tag, code in (("v1.20", 1), ("v1.20.3", 0)):
        environment = {"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(["bash", "-ec", write], cwd=tmp_path, env=environment)
        assert done.returncode == code, tag
    written = (tmp_path / "pai_bench/core/project.py").read_text()
    assert written == (ROOT / "pai_bench/core/project.py").read_text().replace(VERSION, "1.20.3")
    assert yaml.safe_load((tmp_path / "CITATION.cff").read_text())["version"] == "1.20.3"


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
