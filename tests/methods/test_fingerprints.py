"""The masks of each built-in method are those that its version always gave.

Where this fails, a method behaves in another way than stored results of the same version did. If
that is meant: raise `version` in the class, then `python tests/methods/test_fingerprints.py` adds
the fingerprints of the new version. Those of older versions stay, and are never written again. (If
the small problems were changed, delete tests/golden/fingerprints.json first.)
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from pai_bench.methods.conformance.problems import MLP, RESNET
from pai_bench.methods.conformance.subject import Case, find
from pai_bench.registry import methods as registry

FILE = Path(__file__).parents[1] / "golden" / "fingerprints.json"
PROBLEMS = {"mlp": MLP, "resnet": RESNET}
BUILT_IN = [
    name
    for name, info in registry.available().items()
    if info.module.startswith(("pai_bench.baselines.", "pai_bench.reproductions."))
]


def fingerprints(name):
    """SHA-256 of the masks at the default hyper-parameters, on each problem.

    In float64, so that processors that round differently still rank alike.
    """
    subject = find(name, ()).load()
    defaults = {key: declared.default for key, declared in subject.info.hyper.items()}
    found = {}
    for key, problem in PROBLEMS.items():
        case = Case(problem, 0.2, dtype=torch.float64, hyper=defaults)
        hashed = hashlib.sha256()
        for layer, mask in subject.masks(case).items():
            hashed.update(f"{layer} {list(mask.shape)}\n".encode())
            hashed.update(mask.contiguous().numpy().data)
        found[key] = hashed.hexdigest()
    return found


def version_of(name):
    return str(registry.load(name).version)


@pytest.mark.parametrize("name", BUILT_IN)
def test_masks_are_those_of_this_version(name):
    recorded = json.loads(FILE.read_text()).get(name, {}).get(version_of(name))
    again = "run `python tests/methods/test_fingerprints.py`"
    assert recorded, f"{name} version {version_of(name)} has no fingerprints yet: {again}"
    assert fingerprints(name) == recorded, (
        f"the behaviour of {name} changed: raise its `version`, then {again}"
    )


def test_there_are_methods_to_hold_to_it():
    assert {"snip", "ntk-sap"} <= set(BUILT_IN)


def test_versions_that_are_recorded_have_been():
    assert BUILT_IN
    for name, versions in json.loads(FILE.read_text()).items():
        assert name not in BUILT_IN or max(map(int, versions)) == int(version_of(name)), name


def add_missing():
    """Add the fingerprints of versions that have none."""
    recorded = json.loads(FILE.read_text()) if FILE.is_file() else {}
    for name in BUILT_IN:
        versions = recorded.setdefault(name, {})
        if version_of(name) not in versions:
            versions[version_of(name)] = fingerprints(name)
            print(f"{name} version {version_of(name)}")
    FILE.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    add_missing()
