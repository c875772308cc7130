"""From a network's settings to a module: any builder, its initialisation, its dense layers."""

import sys

import pytest
import torch
from torch import nn

from pai_bench import networks
from pai_bench.config.schema import Network
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.sparsity.masks import prunable

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
LENET = "pai_bench.networks.lenet:lenet_300_100"
RESNET = "pai_bench.networks.resnet_cifar:resnet_20"


def build(target, shape=MNIST, seed=1, **settings):
    with RandomStreams(seed).as_global("init"):
        return networks.build(Network(build=target, **settings), shape, 10)


def names(network):
    return [name for name, _ in prunable(network)]


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """Write a user's module into a current folder that is on no path; its name is returned."""
    name = f"user_{tmp_path.name}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text):
        (tmp_path / f"{name}.py").write_text(f"from torch import nn\n{text}")
        return name

    yield write
    sys.modules.pop(name, None)


def test_a_users_builder_is_found_from_the_current_folder(user_module):
    name = user_module("def net(shape, classes):\n    return nn.Linear(shape[0], classes)\n")
    network = build(f"{name}:net", (7, 1, 1))
    assert (network.in_features, network.out_features) == (7, 10)


BROKEN = {
    "raises": ("def net(s, c):\n    raise OSError('out of\\nsorts')", "OSError: out of$"),
    "says nothing": ("def net(s, c):\n    raise OSError", "OSError: $"),
    "no module": ("def net(s, c):\n    return 3", "returned int, not a torch.nn.Module"),
    "signature": ("def net(shape):\n    return nn.Linear(1, 1)", "TypeError: net"),
    "nothing to prune": ("def net(s, c):\n    return nn.ReLU()", "no conv or linear layer"),
    "lazy": ("def net(s, c):\n    return nn.LazyLinear(c)", "LazyLinear|uninitialized"),
    "broken file": ("def net(:", "SyntaxError: "),
    "no function": ("def other(s, c):\n    return 3", "no attribute 'net'"),
    "not callable": ("net = 3", "TypeError: 'int' object is not callable"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_goes_wrong_in_a_builder_is_one_line(which, user_module):
    text, reason = BROKEN[which]
    name = user_module(text)
    with pytest.raises(BenchError, match=f"^network builder {name}:net: .*({reason})") as caught:
        build(f"{name}:net", init="kaiming")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "pai_bench.networks.lenet:lenet",
        "pai_bench.networks.nothing:lenet_300_100",
        "nothing:at_all",
    ],
)
def test_a_builder_that_does_not_exist_is_one_line(target):
    with pytest.raises(BenchError, match=f"network builder {target}: ") as caught:
        build(target)
    assert "\n" not in str(caught.value)


def test_an_unknown_initialisation_names_the_nearest_one():
    with pytest.raises(BenchError, match=r'unknown initialisation "kaimng"; .*"kaiming"'):
        build(LENET, init="kaimng")


def test_no_initialisation_keeps_the_weights_of_the_builder():
    with RandomStreams(1).as_global("init"):
        first = nn.Linear(784, 300)
    assert torch.equal(build(LENET).fc1.weight, first.weight)
    assert torch.equal(build(LENET).fc1.bias, first.bias)


def test_dense_layers_are_not_prunable_and_stay_in_the_network():
    network = build(RESNET, CIFAR, dense=("0", "*.shortcut.*"))
    every = names(build(RESNET, CIFAR))
    apart = {"0.weight", "6.shortcut.0.weight", "9.shortcut.0.weight"}
    assert names(network) == [name for name in every if name not in apart]
    assert apart <= set(dict(network.named_parameters()))


def test_a_pattern_is_matched_with_whole_names_of_layers_and_case():
    assert names(build(LENET, dense=("fc[13]",))) == ["fc2.weight"]
    for pattern in ("FC1", "f", "fc1.weight"):
        with pytest.raises(BenchError, match="no conv or linear layer is called"):
            build(LENET, dense=(pattern,))


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("fc4", 'did you mean "fc3"?'), ("relu1", "fc1, fc2, fc3"), ("*.depthwise", "fc1, fc2, fc3")],
)
def test_a_pattern_that_matches_no_layer_is_an_error(pattern, hint):
    with pytest.raises(BenchError) as caught:
        build(LENET, dense=("fc1", pattern))
    message = str(caught.value)
    assert message.startswith(f"network builder {LENET}: dense: ")
    assert f'"{pattern}"' in message
    assert message.endswith(hint)
    assert "\n" not in message


def test_all_layers_dense_is_an_error():
    with pytest.raises(BenchError, match="no conv or linear layer to prune"):
        build(LENET, dense=("*",))


def test_a_builder_may_set_layers_apart_itself(user_module):
    name = user_module(
        "def net(shape, classes):\n"
        "    made = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))\n"
        "    made[0].prunable = False\n"
        "    return made\n"
    )
    assert names(build(f"{name}:net")) == ["1.weight"]


def test_one_seed_gives_one_start():
    torch.manual_seed(1)
    first = build(RESNET, CIFAR, init="kaiming")
    torch.manual_seed(2)
    again, other = (build(RESNET, CIFAR, seed=seed, init="kaiming") for seed in (1, 2))
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    build(LENET, init="ntt")
    assert torch.equal(before, torch.get_rng_state())
