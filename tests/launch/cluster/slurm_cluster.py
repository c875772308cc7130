"""A real Slurm of two nodes, in a folder: controller, node and munge, started in about a second."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
NODES = ("n1", "n2")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]},{ports[2]} \
    CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Why there can be no Slurm here; empty if there can."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if absent:
        return f"no {absent[0]} here: Slurm is not installed (Debian: slurm-wlm and munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started as root only"


def _path():
    return f"{os.environ['PATH']}:/usr/sbin"


class SlurmCluster:
    """The daemons; `SLURM_CONF` is to name `configuration`."""

    def __init__(self):
        # Not in a folder of pytest: names of sockets are short.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.configuration = self.folder / "slurm.conf"

    def start(self):
        """Start the daemons; returns when the node takes jobs, or skips the test."""
        folder, host = self.folder, socket.gethostname().split(".")[0]
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid",
                 "seed-file": "munge.seed", "log-file": "munged.log"}  # fmt: skip
        self._run("munged", "--force", *(f"--{key}={folder / v}" for key, v in files.items()))
        text = CONFIGURATION.format(folder=folder, host=host, ports=_free_ports(3))
        self.configuration.write_text(text)
        self._run("slurmctld", "-c")
        for node in NODES:
            self._run("slurmd", "-c", "-N", node)
        deadline = time.monotonic() + 15
        while self._states() != ["idle"] * len(NODES):
            if time.monotonic() > deadline:
                pytest.skip(f"Slurm does not start here: {self._said()}")
            time.sleep(0.1)

    def _states(self):
        return self._run("sinfo", "--noheader", "--Node", "--format=%T", check=False).split()

    def _run(self, *command, check=True):
        variables = {**os.environ, "PATH": _path(), "SLURM_CONF": str(self.configuration)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=20)
        if check and done.returncode:
            pytest.skip(f"Slurm does not start here: {done.stderr.strip()[-300:]}")
        return done.stdout

    def _said(self):
        log = self.folder / "slurmctld.log"
        return log.read_text()[-300:] if log.is_file() else "not a word"

    def stop(self):
        """End all jobs and daemons, in this order: what they leave would write into the folder."""
        if self.configuration.is_file():
            self._run("scancel", "--user=root", check=False)
            self._run("scancel", "--user=root", "--signal=KILL", "--full", check=False)
            _wait(lambda: not self._run("squeue", "--noheader", check=False))
        for name in (*(f"slurmd-{node}" for node in NODES), "slurmctld", "munged"):
            pid = self.folder / f"{name}.pid"
            if pid.is_file():
                process = int(pid.read_text())
                os.kill(process, 15)
                _wait(lambda process=process: not _is_alive(process))
        shutil.rmtree(self.folder, ignore_errors=True)


def _wait(is_so):
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_alive(process):
    """Whether it runs; one that has ended stays in the table where nobody waits for it."""
    status = Path(f"/proc/{process}/stat")
    return status.is_file() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def _free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
