"""Campaigns: several runs under one budget, whose results become evidence."""

from pathlib import Path

import pytest

from pai_bench.cli.main import main
from pai_bench.config.loader import load
from pai_bench.core.errors import BenchError
from pai_bench.store.store import Store

ROOT = Path(__file__).parents[2]
CAMPAIGN = """
campaigns:
  tiny:
    - {suite: quick, methods: [snip], densities: [0.1], seeds: [1], evidence: kept/evidence}
    - {suite: quick, methods: [random], densities: [0.2], seeds: [1], evidence: kept/evidence}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a campaign: run(*options) -> exit code and output."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "benchmark.yaml").read_text().partition("\ncampaigns:")[0]
    text = text.replace("reproductions/*", f"{ROOT}/reproductions/*")
    (tmp_path / "benchmark.yaml").write_text(text + CAMPAIGN)

    def call(*options):
        code = main(["campaign", *options, "--wandb", "disabled", "--accelerator", "cpu"])
        captured = capfd.readouterr()
        return code, captured.out + captured.err

    return call


@pytest.mark.slow
def test_all_steps_run_and_become_evidence(run, tmp_path):
    (tmp_path / "kept").mkdir()
    code, output = run("tiny", "--budget", "5m")
    assert code == 0
    methods = [entry.cell.method for entry in Store(tmp_path / "kept/evidence", "quick").entries()]
    assert sorted(methods) == ["random", "random", "random", "snip"]
    assert output.count("evidence ") == 2


@pytest.mark.slow
def test_a_trial_leaves_no_evidence(run, tmp_path):
    (tmp_path / "kept").mkdir()
    assert run("tiny", "--set", "epochs=1")[0] == 0
    assert not (tmp_path / "kept/evidence").exists()
    assert Store(tmp_path / "runs", "quick+epochs=1").ids()


def test_what_cannot_be_kept_or_run_is_one_line(run):
    code, output = run("tiny", "--set", "epochs=1", "--budget", "1x")
    assert (code, "not a time as" in output) == (2, True)
    code, output = run("tinny")
    assert (code, 'unknown campaign "tinny"; did you mean "tiny"?' in output) == (2, True)
    code, output = run("tiny")
    assert (code, "run it in the checkout" in output) == (2, True)
    assert "Traceback" not in output


@pytest.mark.parametrize(("wrong", "message"), [
    ("suite: quik", 'unknown suite "quik"; did you mean "quick"?'),
    ("methods: [snpi]", 'unknown method "snpi"; did you mean "snip"?'),
])  # fmt: skip
def test_names_of_a_campaign_are_checked(wrong, message, tmp_path, methods):
    key = wrong.partition(":")[0]
    step = {"suite": "quick", "methods": "[snip]", "evidence": "x"}
    lines = [f"{k}: {v}" for k, v in step.items() if k != key] + [wrong]
    text = (ROOT / "benchmark.yaml").read_text().partition("\ncampaigns:")[0]
    text = text.replace("reproductions/*", f"{ROOT}/reproductions/*")
    path = tmp_path / "benchmark.yaml"
    path.write_text(text + "\ncampaigns:\n  mine:\n    - {" + ", ".join(lines) + "}\n")
    with pytest.raises(BenchError, match=r"benchmark\.yaml:\d+: .*" + message.split(";")[0]):
        load(path, methods)
