"""A node that runs one command, as a session of processes: they can be ended at once."""

import os
import signal
import sys
from pathlib import Path

from pai_bench.core import processes


class NodeProcess:
    """A node of two.

    Args:
        number: Which of them.
        port: Where the first one is met.
        folder: Where it runs; what it says goes there.
        arguments: Words of the command.
    """

    def __init__(self, number, port, folder, *arguments):
        self._log, self._port = folder / f"node-{number}.log", port
        given = (self.variables(number), str(folder), str(self._log), arguments)
        self.process = processes.context().Process(target=_run, args=given)
        self.process.start()

    def variables(self, number):
        """What says to a process that it is of a node of these two."""
        return {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self._port), "NODE_RANK": str(number)
        }  # fmt: skip

    def said(self):
        """What it wrote to the terminal."""
        return self._log.read_text()

    def living(self):
        """Its processes that live."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session, *_ = path.read_text().rpartition(")")[2].split()
            except (OSError, ValueError):  # It has ended meanwhile.
                continue
            if int(session) == self.process.pid and state != "Z":
                yield int(path.parent.name)

    def die(self):
        """End all of it at once."""
        for number in list(self.living()):
            os.kill(number, signal.SIGKILL)
        self.process.join()


def _run(variables, folder, log, arguments):
    os.setsid()
    os.chdir(folder)
    os.environ.update(variables)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    from pai_bench.cli.main import main

    raise SystemExit(main(arguments))
