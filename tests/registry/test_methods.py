"""Methods are found and read without importing them, and the one that runs is imported."""

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from pai_bench import PruneAtInit
from pai_bench.core.errors import BenchError
from pai_bench.registry import declaration
from pai_bench.registry import methods as registry
from pai_bench.training.module import SparseClassifier

BUILT_IN = registry.available()
HEAD = (
    "from __future__ import annotations\n"
    "from dataclasses import dataclass\n"
    "from typing import Literal\n"
    "from pai_bench import PruneAtInit\n"
    "from pai_bench.registry.methods import register\n"
)
MINE = (
    HEAD
    + '''
@register("mine")
class Mine(PruneAtInit):
    """Keep what I like.

    And more.
    """

    version = 3
    needs_labels = False
    paper: str = "my paper"

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        rounds: int = 7
        taste: float = -0.5
        kind: Literal["sweet", "sour"] = "sweet"

    def scores(self, network, batches):
        return {}
'''
)


def write(folder, text, name="mine.py"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(call, *arguments):
    with pytest.raises(BenchError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def hyper_of(cls):
    """What the dataclass `Hyper` of a loaded method really holds."""
    fields = dataclasses.fields(cls.Hyper)
    return {f.name: (ast.unparse(ast.parse(f.type)), f.default) for f in fields}


def test_the_methods_of_this_benchmark_are_found():
    assert {"dense", "random", "magnitude", "snip", "ntk-sap"} <= set(BUILT_IN)


def test_listing_methods_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from pai_bench.registry import methods as registry\n"
        "assert 'snip' in registry.available()\n"
        "print(*{m.partition('.')[0] for m in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pai_bench" in loaded
    assert not loaded & {"torch", "pytorch_lightning", "numpy", "pydantic", "baselines"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_read_from_the_source_is_what_the_class_says(name):
    info, cls = BUILT_IN[name], registry.load(name)
    assert issubclass(cls, SparseClassifier)
    assert cls.name == info.name == name
    read = {fact: getattr(info, fact) for fact in declaration.FACTS}
    assert read == {fact: getattr(cls, fact) for fact in declaration.FACTS}
    assert {k: (h.kind, h.default) for k, h in info.hyper.items()} == hyper_of(cls)
    assert info.about == cls.__doc__.partition("\n")[0]


def test_hyper_parameters_of_a_base_are_inherited_and_overridden():
    hyper = BUILT_IN["ntk-sap"].hyper
    assert (hyper["rounds"].default, BUILT_IN["snip"].hyper["rounds"].default) == (20, 1)
    assert hyper["scope"].default == "global"
    assert hyper["scope"].choices() == ("global", "local", "er", "erk", "rigl-mnist")
    assert dict(BUILT_IN["dense"].hyper) == {}


def test_an_origin_is_the_line_of_the_class():
    path, _, line = BUILT_IN["snip"].origin.rpartition(":")
    root = Path(registry.__file__).parents[2]
    assert (root / path).read_text().splitlines()[int(line) - 1].startswith("class SNIP")


def test_an_unknown_method_gets_a_suggestion():
    assert refusal(registry.load, "snpi") == 'unknown method "snpi"; did you mean "snip"?'


def test_a_plugin_file_is_read_and_loaded(tmp_path):
    plugin = write(tmp_path, MINE)
    info = registry.available((plugin,))["mine"]
    assert (info.version, info.needs_labels, info.needs_data) == (3, False, True)
    assert (info.paper, info.about) == ("my paper", "Keep what I like.")
    cls = registry.load("mine", (plugin,))
    assert issubclass(cls, PruneAtInit)
    assert {k: (h.kind, h.default) for k, h in info.hyper.items()} == hyper_of(cls)
    assert info.hyper["taste"].default == -0.5


def test_a_plugin_is_known_only_where_it_is_named(tmp_path):
    registry.available((write(tmp_path, MINE),))
    assert "mine" not in registry.available()


def test_a_plugin_may_build_on_a_baseline(tmp_path):
    text = (
        "from pai_bench import register\nfrom pai_bench.baselines.snip import SNIP\n\n\n"
        '@register("snip2")\nclass Second(SNIP):\n    version = 2\n'
    )
    plugin = write(tmp_path, text, "second.py")
    info = registry.available((plugin,))["snip2"]
    assert (info.paper, info.version) == (BUILT_IN["snip"].paper, 2)
    assert info.hyper == BUILT_IN["snip"].hyper
    assert registry.load("snip2", (plugin,)).paper == info.paper


def test_listing_a_plugin_does_not_run_it(tmp_path):
    plugin = write(tmp_path, MINE + "\nraise SystemExit('ran')\n", "bomb.py")
    assert "mine" in registry.available((plugin,))


def test_two_plugins_of_one_file_name_are_both_loaded(tmp_path):
    one = write(tmp_path / "one", MINE, "method.py")
    two = write(tmp_path / "two", MINE.replace('"mine"', '"yours"'), "method.py")
    assert registry.load("mine", (one, two)).name == "mine"
    assert registry.load("yours", (one, two)).name == "yours"


def test_a_changed_copy_of_a_plugin_is_not_taken_for_the_first(tmp_path):
    one = write(tmp_path / "one", MINE, "copied.py")
    two = write(tmp_path / "two", MINE.replace("version = 3", "version = 4"), "copied.py")
    assert registry.load("mine", (one,)).version == 3
    assert registry.load("mine", (two,)).version == 4


def test_a_taken_name_names_both_places(tmp_path):
    plugin = write(tmp_path, MINE.replace('"mine"', '"snip"'))
    message = refusal(registry.available, (plugin,))
    assert f"{plugin}:" in message
    assert BUILT_IN["snip"].origin in message


def test_two_plugins_with_one_name_are_both_named(tmp_path):
    one, two = write(tmp_path, MINE, "one.py"), write(tmp_path, MINE, "two.py")
    message = refusal(registry.available, (one, two))
    assert str(one) in message
    assert str(two) in message


def test_a_plugin_that_is_not_there_is_named(tmp_path):
    assert "gone.py: no such file" in refusal(registry.available, (tmp_path / "gone.py",))


def test_a_plugin_that_is_not_python_is_named_with_its_line(tmp_path):
    plugin = write(tmp_path, "import os\ndef (:\n")
    assert f"{plugin}:2: " in refusal(registry.available, (plugin,))


def test_a_plugin_without_a_method_is_told_what_is_missing(tmp_path):
    plugin = write(tmp_path, "class Mine:\n    pass\n")
    message = refusal(registry.available, (plugin,))
    assert str(plugin) in message
    assert "@register" in message


def test_a_class_that_is_no_method_is_told_what_to_be(tmp_path):
    plugin = write(tmp_path, HEAD + '\n\n@register("mine")\nclass Mine:\n    pass\n', "nobase.py")
    message = refusal(registry.load, "mine", (plugin,))
    assert f"{plugin}:9: Mine must be a subclass of SparseClassifier" in message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import no_such_module_at_all", "no_such_module_at_all"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise ValueError('two\\nlines')", "ValueError: two"),
    ],
)
def test_a_method_that_cannot_be_imported_is_listed_and_fails_in_one_line(tmp_path, line, reason):
    plugin = write(tmp_path, MINE.replace("@", f"{line}\n@", 1), f"broken_{len(reason)}.py")
    assert "mine" in registry.available((plugin,))
    message = refusal(registry.load, "mine", (plugin,))
    assert str(plugin) in message
    assert reason in message


def test_a_mended_plugin_is_imported_again(tmp_path):
    plugin = write(tmp_path, MINE.replace("@", "import no_such_module_at_all\n@", 1), "mended.py")
    refusal(registry.load, "mine", (plugin,))
    plugin.write_text(MINE)
    assert registry.load("mine", (plugin,)).version == 3


GIVEN = [
    ({}, None),
    ({"rounds": 3, "epsilon": 1, "scope": "local"}, None),
    ({"rounds": 1.5}, "rounds must be int, got 1.5"),
    ({"rounds": True}, "rounds must be int, got True"),
    ({"rounds": "3"}, "rounds must be int, got '3'"),
    ({"epsilon": "small"}, "epsilon must be float, got 'small'"),
    ({"epsilon": None}, "epsilon must be float, got None"),
    ({"scope": "lokal"}, "scope must be Literal['global', 'local',"),
    ({"round": 3}, 'no hyper-parameter "round"; did you mean "rounds"?'),
]


@pytest.mark.parametrize(("given", "message"), GIVEN)
def test_hyper_parameters_are_checked_by_name_and_type(given, message):
    info = BUILT_IN["ntk-sap"]
    if message is None:
        info.check(given)
    else:
        assert message in refusal(info.check, given)


def test_defaults_are_dropped_and_only_they():
    given = {"rounds": 20, "repeats": 6, "epsilon": 0.01}
    assert BUILT_IN["ntk-sap"].without_defaults(given) == {"repeats": 6}


@pytest.mark.parametrize(
    "field", ["rate: float = 'high'", "sizes: list = []", "many: dict = {}", "rounds: int = 1.5",
              "scope: Literal['a', 'b'] = 'c'"],
)  # fmt: skip
def test_a_default_that_cannot_be_is_found_before_anything_runs(tmp_path, field):
    path = tmp_path / "mine.py"
    hyper = MINE[: MINE.index("    @dataclass")]
    hyper += "    @dataclass(frozen=True)\n    class Hyper(PruneAtInit.Hyper):\n"
    path.write_text(f"{hyper}        {field}\n")
    with pytest.raises(BenchError, match=r"mine\.py:\d+: \w+: the default .* is no ") as error:
        declaration.describe(str(path), path)
    assert "\n" not in str(error.value)
