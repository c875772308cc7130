"""Faults of the machine are told from errors of what was trained, in whatever dress they come."""

import errno
import os

import pytest
import torch
from safetensors.torch import save_file

from pai_bench.core.errors import BenchError
from pai_bench.core.machine import FAULTS, MachineFault, fault_of_writing, machine_fault


def raised(function):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function()
    return caught.value


@pytest.mark.parametrize("number", FAULTS)
def test_every_fault_says_what_happened_where_and_what_to_do(number):
    fault = str(machine_fault(OSError(number, os.strerror(number), "/runs/quick")))
    assert fault.startswith(FAULTS[number][0])
    assert "(/runs/quick): " in fault
    assert fault.endswith("what is stored stays, and the same command goes on")
    assert "\n" not in fault


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_file({"w": torch.ones(99_999)}, path),
        lambda path: torch.save({"w": torch.ones(99_999)}, path),
        lambda path: path.write_bytes(bytes(400_000)),
        lambda path: path.write_text(400_000 * "x"),
    ],
    ids=["safetensors", "torch", "bytes", "text"],
)
def test_a_full_disk_is_seen_through_every_library_that_writes(small_disk, write):
    fault = machine_fault(raised(lambda: write(small_disk / "file")))
    assert "no space is left on the disk" in str(fault)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7 TiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate"
                     " memory: you tried to allocate 9 bytes."),
        RuntimeError("unable to mmap 4 bytes from file </torch_1>: Cannot allocate memory (12)"),
        RuntimeError("can't start new thread"),
        RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"),
        OSError("Caught OSError in DataLoader worker process 0.\n[Errno 5] Input/output error"),
    ],
)  # fmt: skip
def test_faults_that_have_no_number(error):
    assert isinstance(machine_fault(error), MachineFault)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no space left on device"), FileNotFoundError(errno.ENOENT, "gone", "x.pt"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("CUDA error: device-side assert triggered"), KeyError(errno.ENOSPC),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"), BenchError("x"),
    ],
)  # fmt: skip
def test_what_a_cell_did_is_no_fault_of_the_machine(error):
    assert machine_fault(error) is None


def test_a_fault_is_found_behind_what_was_raised_from_it():
    error = BenchError("the shard cannot be read")
    error.__cause__ = OSError(errno.EIO, "x")
    assert "does not answer" in str(machine_fault(error))
    loop = ValueError("a")
    loop.__context__, loop.__cause__ = loop, loop
    assert machine_fault(loop) is None


def test_outside_of_trainings_any_error_of_the_system_is_one(tmp_path):
    gone = FileNotFoundError(errno.ENOENT, "No such file", "runs")
    assert str(fault_of_writing(gone, tmp_path)).startswith("FileNotFoundError: [Errno 2]")
    assert fault_of_writing(ValueError("NaN"), tmp_path) is None
    assert f"({tmp_path})" in str(fault_of_writing(MemoryError(), tmp_path))
