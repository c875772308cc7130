"""What a step frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from pai_bench.core import allocator

if sys.argv[1] == "kept":
    assert allocator.keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_large_blocks_are_not_asked_for_again():
    """Some are at first: small blocks are cut off them."""
    assert page_faults("kept") < page_faults("given back") / 2
