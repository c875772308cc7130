"""Sizes of networks: those of PaI-Bench's own are kept, for torch takes seconds to count them.

`python -m pai_bench.experiment.network_sizes` writes network_sizes.json anew; a test holds it to
what is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pai_bench.config import loader
from pai_bench.config.schema import Benchmark, Data, Network
from pai_bench.core.project import settings_file
from pai_bench.registry import methods

KEPT = Path(__file__).with_name("network_sizes.json")
Sizes = Mapping[str, int]
"""The fields of pai_bench.networks.describe.Description."""


def sizes(network: Network, data: Data) -> Sizes:
    """Look up the sizes of a network on a data set, or count them.

    Raises:
        BenchError: The network cannot be built, or does not take such inputs.
    """
    return _kept().get(_key(network, data)) or counted(network, data)


def counted(network: Network, data: Data) -> Sizes:
    """Count them. Raises BenchError where the network cannot be built on such inputs."""
    from pai_bench.networks.describe import describe

    return asdict(describe(network, data.shape, data.classes))


def used(settings: Benchmark) -> Iterator[tuple[str, str]]:
    """Name each network with each data set that it is used with."""
    for name, network in settings.networks.items():
        yield from ((name, data) for data in network.macs)


@cache
def _kept() -> Mapping[str, Sizes]:
    found: Mapping[str, Sizes] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def _key(network: Network, data: Data) -> str:
    """What sizes depend on: one of these changed, they are counted."""
    shape = "x".join(map(str, data.shape))
    dense = f" dense {','.join(network.dense)}" if network.dense else ""
    return f"{network.build} version {network.version}{dense} on {shape}, {data.classes} classes"


def main() -> None:
    """Count all networks of the settings, and keep their sizes."""
    settings = loader.load(settings_file(), methods.available())
    pairs = [(settings.networks[name], settings.data[data]) for name, data in used(settings)]
    kept = {_key(network, data): dict(counted(network, data)) for network, data in pairs}
    lines = [f"  {json.dumps(key)}: {json.dumps(kept[key])}" for key in sorted(kept)]
    KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
