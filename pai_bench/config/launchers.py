"""Options of the launchers that hand bundles to a cluster: what one bundle is given there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pai_bench.config.settings import Settings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:@+-]{1,200}$")]
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,60}$")]
Line = Annotated[str, Field(pattern=r"^[^\r\n\x00]{1,2000}$")]
Count = Annotated[int, Field(gt=0, lt=100_000)]
Gigabytes = Annotated[float, Field(gt=0, lt=100_000)]


class ClusterOptions(Settings):
    """What one bundle is given, on any cluster."""

    gpus: Annotated[int, Field(ge=0, lt=1000)] = 0
    """GPUs of a bundle; no two bundles share one."""
    cpus: Count | None = None
    """Processors of a bundle; as many as it has `threads` unless given."""
    memory_gb: Gigabytes | None = None
    """Memory of a bundle; what the cluster gives unless said here."""


class SlurmOptions(ClusterOptions):
    """Options of jobs in a queue of Slurm (launch/cluster/slurm.py)."""

    jobs: Count = 16
    """Bundles that run at a time, unless `--jobs` says so."""
    minutes: Count = 60
    """Time limit of a job. It writes a checkpoint before, and queues again."""
    nodes: Count = 1
    """Nodes of a bundle, unless `--nodes` says so: with `--strategy ddp` they train together."""
    warning_seconds: Annotated[int, Field(ge=10, le=65_535)] = 90
    """Seconds before the time limit at which it does so."""
    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    setup: tuple[Line, ...] = ()
    """Lines of the shell that come before the training, such as `module load cuda`."""
    options: dict[OptionName, Line | Count | Literal[True]] = Field(default_factory=dict)
    """More options of sbatch, by their long names: `constraint: a100`."""


class RayOptions(ClusterOptions):
    """Options of tasks on a cluster of Ray (launch/cluster/ray.py)."""

    jobs: Count | None = None
    """Bundles that run at a time, unless `--jobs` says so; as many as there is room for."""
    address: Name | None = None
    """Address of the cluster; RAY_ADDRESS unless given, and this machine without either."""


class Launchers(Settings):
    """Options of all launchers that have some."""

    slurm: SlurmOptions = SlurmOptions()
    ray: RayOptions = RayOptions()
