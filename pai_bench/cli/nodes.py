"""A command on several nodes: the first one runs it, the others train with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from pai_bench.cli.asked import hardware_asked
from pai_bench.cli.context import Arguments, Context, say
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import check_devices
from pai_bench.core.node import this_node
from pai_bench.launch.launcher import LOCAL

Command = Callable[[Context, Arguments], int]


def on_all_nodes(command: Command) -> Command:
    """Let a command train on several nodes; launchers of clusters do so by themselves."""

    @wraps(command)
    def run(context: Context, parsed: Arguments) -> int:
        if parsed.nodes == 1 or parsed.launcher != LOCAL:
            return command(context, parsed)
        check_devices(hardware_asked(parsed))
        if parsed.jobs > 1:
            raise BenchError("--nodes: they train one network at a time; leave out --jobs")
        node = this_node(parsed.nodes)

        def tell(line: str) -> None:
            say(context, "nodes", line)

        if node.number:
            from pai_bench.training.follower import follow

            follow(node, tell)
            return 0
        from pai_bench.training.meeting import served

        with served(node, tell):
            return command(context, parsed)

    return run
