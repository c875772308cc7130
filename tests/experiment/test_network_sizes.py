"""Sizes that are kept, and multiply-accumulates of the settings, are those that are counted."""

from pathlib import Path

import pytest

from pai_bench.config import loader
from pai_bench.experiment import network_sizes
from pai_bench.registry import methods as registry

SETTINGS = loader.load(Path(__file__).parents[2] / "benchmark.yaml", registry.available())


@pytest.fixture
def uncounted(monkeypatch):
    """Fails where something is counted."""

    def refuse(network, data):
        raise AssertionError(f"{network.build} was counted")

    monkeypatch.setattr(network_sizes, "counted", refuse)


@pytest.mark.parametrize(("name", "data"), list(network_sizes.used(SETTINGS)))
def test_kept_sizes_are_what_is_counted(name, data):
    """If not: python -m pai_bench.experiment.network_sizes"""
    pair = SETTINGS.networks[name], SETTINGS.data[data]
    counted = network_sizes.counted(*pair)
    assert network_sizes.sizes(*pair) == counted
    assert SETTINGS.networks[name].macs[data] == counted["macs"]


def test_nothing_is_counted_for_the_networks_of_papers(uncounted):
    for name, data in network_sizes.used(SETTINGS):
        network_sizes.sizes(SETTINGS.networks[name], SETTINGS.data[data])


@pytest.mark.parametrize("change", [{"version": 9}, {"dense": ("0",)}, {"build": "mynets:build"}])
def test_a_network_that_is_another_is_counted(change, uncounted):
    network = SETTINGS.networks["lenet-300-100"].model_copy(update=change)
    with pytest.raises(AssertionError, match="was counted"):
        network_sizes.sizes(network, SETTINGS.data["mnist"])
