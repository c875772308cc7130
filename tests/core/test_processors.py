"""The same bits on processors of other vendors, which QEMU emulates: `make test-processors`.

QEMU's programs see the vendor, the instructions and the caches of the processor that it emulates,
by which libraries choose their kernels; its arithmetic is that of IEEE 754, as a processor's is.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.emulated
QEMU = "qemu-x86_64"
PROCESSORS = {
    "Intel Haswell": "Haswell",
    "Intel Skylake": "Skylake-Server",
    "AMD Rome": "EPYC-Rome",
}


@pytest.fixture(autouse=True)
def emulator(request):
    if "emulated" not in request.config.option.markexpr.split():
        pytest.skip("emulates other processors, for minutes: `make test-processors`")
    if shutil.which(QEMU) is None:
        pytest.skip(f"needs {QEMU} (Debian's package qemu-user)")


def printed(program, *arguments, processor=None, **variables):
    """What a program of this folder prints, on this processor or an emulated one: by name."""
    emulated = [] if processor is None else [QEMU, "-cpu", processor]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), **variables}
    answer = subprocess.run(
        [*emulated, sys.executable, Path(__file__).with_name(program), *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert answer.returncode == 0, answer.stderr
    return dict(line.split() for line in answer.stdout.splitlines())


@cache
def digests(kernels, processor=None):
    """Digests by network."""
    return printed("kernels_of_networks.py", kernels, processor=processor)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_portable_kernels_have_the_bits_of_this_processor(processor):
    assert digests("portable", PROCESSORS[processor]) == digests("portable")


def test_without_them_the_vendor_decides():
    """Else the emulation would not reach what libraries choose their kernels by."""
    intel, amd = digests("native", "Haswell"), digests("native", "EPYC-Rome")
    assert intel["lenet-300-100"] != amd["lenet-300-100"]


XEON = {"AVX2": "58b72639c0bec2d2", "AVX2,STRICT": "73999820a205df9e"}
"""MKL_CBWR -> digest of a cell's curves, as an Intel Xeon (Sapphire Rapids) computed it."""


@pytest.mark.parametrize("kernels", XEON)
def test_an_emulated_intel_processor_has_the_bits_of_a_real_one(kernels, tmp_path):
    chosen = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": kernels}
    intel = printed("cell_of_quick.py", tmp_path / "intel", processor="Haswell", **chosen)
    amd = printed("cell_of_quick.py", tmp_path / "amd", **chosen)
    assert intel["curves"] == XEON[kernels]
    assert intel != amd or "Intel" in Path("/proc/cpuinfo").read_text()
