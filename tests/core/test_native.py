"""Products by the widest instructions of a processor, where bits need not be the same elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from pai_bench.core import cpuinfo, native

CPUINFO = "vendor_id\t: {vendor}\nmodel name\t: AuthenticAMD avx512f\nflags\t\t: fma {flag}\n"


@pytest.mark.parametrize(
    ("vendor", "flag", "faster"),
    [
        ("AuthenticAMD", "avx512f", True),
        ("AuthenticAMD", "avx2", False),
        ("GenuineIntel", "avx512f", False),
    ],
)
def test_openblas_is_for_what_mkl_leaves_unused(monkeypatch, vendor, flag, faster):
    monkeypatch.setattr(cpuinfo.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "read_text", lambda _: CPUINFO.format(vendor=vendor, flag=flag))
    assert native.is_faster.__wrapped__() is faster


def answer_of(program):
    """What a new process prints; it has no environment but the path."""
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.split()


HEAD = "from pai_bench.core import native\nnative.is_faster = lambda: True\n"


def test_products_go_to_openblas_and_results_say_so():
    program = (
        f"{HEAD}native.choose(1)\nimport torch\n"
        "from pai_bench.core import environment, openblas\n"
        "calls = []\nmultiplied = openblas._multiplied\n"
        "openblas._multiplied = lambda *pair: calls.append(pair) or multiplied(*pair)\n"
        "print(native.use(), environment.describe('cpu', 1)['native'])\n"
        "print(torch.equal(torch.ones(2, 4) @ torch.ones(4, 3), torch.full((2, 3), 4.0)))\n"
        "print(len(calls))"
    )
    assert answer_of(program) == ["True", "True", "True", "1"]


def test_threads_that_were_not_chosen_before_the_libraries_came_are_not_used():
    assert answer_of(f"import numpy\n{HEAD}native.choose(99)\nprint(native.use())") == ["False"]


def test_mkl_keeps_what_it_is_best_at():
    program = (
        "from pai_bench.core import native\nnative.is_faster = lambda: False\n"
        "print(native.choose(1), native.use(), native.is_in_use())"
    )
    assert answer_of(program) == ["{}", "False", "False"]
