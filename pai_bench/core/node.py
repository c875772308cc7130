"""This machine among those that train one network together, as the environment has it.

What starts a process on each machine says so in variables: torchrun and the operators of Kubernetes
(https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables), or Slurm's srun
(https://slurm.schedmd.com/srun.html#SECTION_OUTPUT-ENVIRONMENT-VARIABLES).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pai_bench.core.errors import BenchError

VARIABLES = (
    "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK",
    "LOCAL_WORLD_SIZE", "TORCHELASTIC_USE_AGENT_STORE",
)  # fmt: skip
"""What a process is told about the nodes, and what it starts is not to take for its own."""
_HOW = (
    "start the same command on each by srun or torchrun, or with MASTER_ADDR, MASTER_PORT and "
    "NODE_RANK in its environment (docs: several devices)"
)


@dataclass(frozen=True)
class Node:
    """A machine among `size` that train one network."""

    number: int
    size: int
    host: str
    """Where node 0 is met."""
    port: int
    is_served: bool = False
    """Whether torchrun itself serves the port."""
    attempt: str = "0"
    """How often torchrun has started the processes again."""

    @property
    def others(self) -> range:
        """Numbers of the nodes that follow the first one."""
        return range(1, self.size)


def this_node(size: int, variables: Mapping[str, str] = os.environ) -> Node:
    """Tell which of `size` nodes this is: one process of ours runs on each.

    Raises:
        BenchError: The environment does not say so, or says that there are more or fewer.
    """
    found = _of_slurm(variables) | _of_variables(variables)
    missing = [name for name in ("host", "port", "number") if name not in found]
    if missing:
        raise BenchError(f"--nodes {size}: which of them is this, and where is the first? {_HOW}")
    started = found.get("size", str(size))
    if started != str(size):
        raise BenchError(
            f"--nodes {size}, but {started} processes were started: start one on each node "
            "(--nproc-per-node 1, --ntasks-per-node 1), which starts those of its devices"
        )
    number, port = _number("rank", found["number"]), _number("port", found["port"])
    if number >= size:
        raise BenchError(f"--nodes {size}: a node is number {number}; they count from 0")
    is_served = variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = variables.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Node(number, size, found["host"], port, is_served, attempt)


def _number(what: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text):
        raise BenchError(f"--nodes: not a {what}: {text!r}")
    return int(text)


def _of_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """What variables of torchrun and its kin say."""
    names = {
        "host": ("MASTER_ADDR",),
        "port": ("MASTER_PORT",),
        "number": ("RANK", "NODE_RANK", "GROUP_RANK"),
        "size": ("WORLD_SIZE",),
    }
    found = {key: [variables[n] for n in each if n in variables] for key, each in names.items()}
    return {key: values[0] for key, values in found.items() if values}


def _of_slurm(variables: Mapping[str, str]) -> dict[str, str]:
    """What srun says; a port that all tasks of a job can tell, and no other job at that time."""
    if "SLURM_PROCID" not in variables:
        return {}
    hosts = variables.get("SLURM_STEP_NODELIST") or variables["SLURM_JOB_NODELIST"]
    return {
        "host": first_host(hosts),
        "port": str(15_000 + int(variables["SLURM_JOB_ID"]) % 10_000),
        "number": variables["SLURM_PROCID"],
        "size": variables["SLURM_NTASKS"],
    }


def first_host(hosts: str) -> str:
    """Return the first of Slurm's host names.

    >>> first_host("gpu[07-09,12],cpu1"), first_host("rack[1-2]n[3,5]"), first_host("one,two")
    ('gpu07', 'rack1n3', 'one')
    """
    first = re.split(r",(?![^\[]*\])", hosts)[0]
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", first)
