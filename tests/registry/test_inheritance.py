"""What a method inherits through other files is read from them, or refused; it is never lost."""

import sys
from pathlib import Path

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.registry import methods as registry

HELPER = '''
from dataclasses import dataclass
from pai_bench import PruneAtInit


class Careful(PruneAtInit):
    """Says what a base says."""

    version = 4
    paper = "of the helper"
    needs_labels = False

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        rounds: int = 9
        taste: float = 0.5
'''
MINE = '@register("mine")\nclass Mine({base}):\n    """Inherit all of it."""\n'
HEAD = "from dataclasses import dataclass\nfrom pai_bench import PruneAtInit, register\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a plugin and modules beside it, imported for this test only."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def files(plugin, **others):
        for name, text in others.items():
            path = tmp_path / f"{name.replace('_in_', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        path = tmp_path / "plugin.py"
        path.write_text(plugin)
        return path

    yield files
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def plugin_of(imports, base, body=""):
    return f"{HEAD}{imports}\n\n\n{MINE.format(base=base)}{body}"


def refusal(call, *arguments):
    with pytest.raises(BenchError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


FOLLOWED = [
    ("from helper import Careful", "Careful"),
    ("from helper import Careful as Base", "Base"),
    ("import helper", "helper.Careful"),
    ("import helper as h", "h.Careful"),
    ("import helper\nBase = helper.Careful", "Base"),
    ("from again import Careful", "Careful"),
    ("from again import Renamed", "Renamed"),
    ("from tools.inner import Careful", "Careful"),
    ("import tools.inner", "tools.inner.Careful"),
    ("from tools import inner", "inner.Careful"),
    ("from tools import Relative", "Relative"),
    ("from spaced.deep import Careful", "Careful"),
    ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nfrom helper import *\n"
     "from helper import Careful", "Careful"),
    ("from again import Second", "Second"),
    ("from helper import Careful\nclass Mixin:\n    pass", "Mixin, Careful"),
]  # fmt: skip


@pytest.mark.parametrize(("imports", "base"), FOLLOWED)
def test_facts_of_a_base_in_another_file_are_seen(write, imports, base):
    plugin = write(
        plugin_of(imports, base),
        helper=HELPER,
        again="from helper import Careful\nfrom helper import Careful as Renamed\n\n\n"
        "class Second(Careful):\n    pass\n",
        tools_in___init__="from .inner import Careful as Relative\n",
        tools_in_inner="from helper import Careful\n",
        spaced_in_deep="import helper\n\nCareful = helper.Careful\n",
    )
    info = registry.available((plugin,))["mine"]
    assert (info.version, info.paper, info.needs_labels) == (4, "of the helper", False)
    assert (info.hyper["rounds"].default, info.hyper["taste"].default) == (9, 0.5)
    cls = registry.load("mine", (plugin,))
    assert (cls.version, cls.paper, cls.Hyper().rounds) == (4, "of the helper", 9)


def test_what_is_nearest_counts_as_in_python(write):
    text = (
        "class Left(Careful):\n    pass\n\n\nclass Right(Careful):\n    version = 5\n\n\n"
        f"{MINE.format(base='Left, Right')}"
    )
    plugin = write(f"{HEAD}from helper import Careful\n{text}", helper=HELPER)
    assert registry.available((plugin,))["mine"].version == 5
    assert registry.load("mine", (plugin,)).version == 5


def test_hyper_parameters_of_a_helper_are_seen(write):
    hyper = "from dataclasses import dataclass\nfrom pai_bench import PruneAtInit\n\n\n"
    hyper += "@dataclass(frozen=True)\nclass Shared(PruneAtInit.Hyper):\n    depth: int = 2\n"
    inside = (
        "    @dataclass(frozen=True)\n    class Hyper(hypers.Shared):\n        width: int = 3\n"
    )
    plugin = write(plugin_of("import hypers", "PruneAtInit", inside), hypers=hyper)
    hyper = registry.available((plugin,))["mine"].hyper
    assert (hyper["rounds"].default, hyper["depth"].default, hyper["width"].default) == (1, 2, 3)
    registry.load("mine", (plugin,))
    plugin = write(plugin_of("import hypers", "PruneAtInit", "    Hyper = hypers.Shared\n"))
    assert list(registry.available((plugin,))["mine"].hyper)[-1] == "depth"
    registry.load("mine", (plugin,))


def test_a_hyper_that_replaces_that_of_the_base_does_not_inherit_from_it(write):
    inside = "    @dataclass(frozen=True)\n    class Hyper:\n        width: int = 3\n"
    plugin = write(plugin_of("from helper import Careful", "Careful", inside), helper=HELPER)
    assert list(registry.available((plugin,))["mine"].hyper) == ["width"]
    registry.load("mine", (plugin,))


@pytest.mark.parametrize(
    "imports",
    ["from pai_bench import register as known", "import pai_bench as p\nknown = p.register"],
)
def test_the_decorator_is_known_by_another_name_where_it_is_imported(write, imports):
    plugin = write(
        f"{imports}\nfrom pai_bench import PruneAtInit\n\n\n"
        "@known('mine')\nclass Mine(PruneAtInit):\n    version = 2\n"
    )
    if "as known" in imports:
        assert registry.available((plugin,))["mine"].version == 2
    else:
        assert "nothing here is decorated" in refusal(registry.available, (plugin,))


REFUSED = [
    ("from helper import *", "Careful", ":3: import * hides where Careful is from"),
    ("from absent import Careful", "Careful", ":3: no module absent"),
    ("import helper", "helper.Missing", "helper.py:1: no class or import called Missing"),
    ("from helper import Careful", "pick(Careful)", ":7: the base pick(Careful) is computed"),
    ("from helper import Careful", "*[Careful]", ":7: the base *[Careful] is computed"),
    ("from made import Careful", "Careful", "made.py:2: the base type('Careful', (), {}) is comp"),
    ("from made import function", "function", "made.py:3: function is computed"),
    ("", "Careful", ":7: no class or import called Careful"),
    ("import helper", "helper", ":7: helper is a module, no class"),
    ("from .helper import Careful", "Careful", ":3: a file by itself is in no package"),
    ("from tools.deep import Up", "Up", "deep.py:1: attempted relative import beyond top-level"),
    ("from round import Careful", "Careful", ": this leads back to itself"),
    ("try:\n    from helper import Careful\nexcept ImportError:\n    from made import Careful",
     "Careful", ":6: Careful comes from line 4 or 6, as it happens"),
    ("from binary import Careful", "Careful", ":3: binary has no Python source"),
    ("from broken import Careful", "Careful", "broken.py:2: cannot be read as Python"),
    ("from helper import Careful", "PruneAtInit, Careful", ":7: the bases of Mine contradict"),
]  # fmt: skip


@pytest.mark.parametrize(("imports", "base", "says"), REFUSED)
def test_a_base_that_cannot_be_followed_is_refused_in_one_line(write, imports, base, says):
    plugin = write(
        plugin_of(imports, base),
        helper=HELPER,
        made="\nCareful = type('Careful', (), {})\ndef function(): pass\n",
        round="from other_round import Careful\n",
        other_round="from round import Careful\n",
        broken="\ndef (:\n",
        tools_in___init__="",
        tools_in_deep="from ...far import Up\n",
    )
    (plugin.parent / "binary.so").touch()
    if "binary" in imports:
        sys.path.append(str(plugin.parent))
        extension = plugin.parent / f"binary{_suffix()}"
        extension.touch()
    message = refusal(registry.available, (plugin,))
    assert message.startswith(str(plugin.parent))
    assert says.removeprefix(":") in message
    if says.startswith(":") and not says.startswith(": "):
        lines = imports.count("\n")
        line = int(says[1:].partition(":")[0])
        expected = line + lines if line == 7 else line
        assert message.startswith(f"{plugin}:{expected}: "), message


def _suffix():
    from importlib.machinery import EXTENSION_SUFFIXES

    return EXTENSION_SUFFIXES[0]


NOT_LITERAL = [
    "    version = 1 + int('1')\n",
    "    version: int = max(1, 2)\n",
    "    version, paper = facts()\n",
    "    if True:\n        version = 2\n",
    "    def version(self): ...\n",
    "    version = 1\n    version += 1\n",
    "    @dataclass\n    class Hyper(PruneAtInit.Hyper):\n        version: int = f()\n",
]


@pytest.mark.parametrize("body", NOT_LITERAL)
@pytest.mark.parametrize("where", ["plugin", "helper"])
def test_a_fact_that_is_no_literal_is_refused_where_it_stands(write, body, where):
    if where == "plugin":
        plugin = write(plugin_of("", "PruneAtInit", body))
    else:
        helper = f"{HEAD}\n\nclass Careful(PruneAtInit):\n    'Base.'\n{body}"
        plugin = write(plugin_of("from helper import Careful", "Careful"), helper=helper)
    message = refusal(registry.available, (plugin,))
    assert message.startswith(str(plugin.with_name(f"{where}.py")))
    assert "version must be a literal" in message


def test_a_literal_that_hides_a_computed_fact_is_enough(write):
    helper = f"{HEAD}\n\nclass Careful(PruneAtInit):\n    version = max(1, 2)\n"
    plugin = write(
        plugin_of("from helper import Careful", "Careful", "    version = 7\n"), helper=helper
    )
    assert registry.available((plugin,))["mine"].version == 7
    registry.load("mine", (plugin,))


def test_a_default_is_not_changed_without_its_type(write):
    body = "    @dataclass(frozen=True)\n    class Hyper(PruneAtInit.Hyper):\n        rounds = 7\n"
    message = refusal(registry.available, (write(plugin_of("", "PruneAtInit", body)),))
    assert "rounds is a hyper-parameter of a base: write `rounds: type = value`" in message


def test_a_name_that_is_computed_is_refused(write):
    plugin = write(plugin_of("", "PruneAtInit").replace('"mine"', "'mi' + 'ne'"))
    assert 'write @register("name") with the name itself' in refusal(registry.available, (plugin,))


UNLIKE = [
    ("\n\nMine.version = 8\n", "version is 8, its source reads as 1; write it as a literal"),
    ("\n\nMine.needs_data = 1\n", "needs_data is 1, its source reads as True"),
    (
        "\n    class Hyper(PruneAtInit.Hyper):\n        rounds: int = 7\n",
        "hyper-parameter rounds is 1, its source reads as 7; decorate Hyper",
    ),
    (
        "\n    class Hyper(PruneAtInit.Hyper):\n        taste: int = 7\n",
        "hyper-parameter taste is no field of the class; decorate Hyper",
    ),
    (
        "\n\n@dataclass(frozen=True)\nclass More(Mine.Hyper):\n    taste: int = 7\n\n\n"
        "Mine.Hyper = More\n",
        "hyper-parameter taste must be written with its type and a literal default",
    ),
]


@pytest.mark.parametrize(("more", "says"), UNLIKE)
def test_a_class_that_is_not_what_its_source_says_is_refused(write, more, says):
    plugin = write(plugin_of("", "PruneAtInit", more))
    message = refusal(registry.load, "mine", (plugin,))
    assert message.startswith(f"{plugin}:7: ")
    assert says in message


def test_another_decorator_of_the_same_name_is_refused_on_loading(write):
    plugin = write(plugin_of("def register(name):\n    return lambda cls: cls", "PruneAtInit"))
    message = refusal(registry.load, "mine", (plugin,))
    assert "its decorator is not pai_bench.register" in message


def test_a_changed_helper_is_read_again(write):
    plugin = write(plugin_of("from helper import Careful", "Careful"), helper=HELPER)
    assert registry.available((plugin,))["mine"].version == 4
    plugin.with_name("helper.py").write_text(HELPER.replace("version = 4", "version = 40"))
    assert registry.available((plugin,))["mine"].version == 40


def test_a_helper_that_something_else_is_found_before_is_refused(write):
    plugin = write(
        plugin_of("from rich import Careful", "Careful"), rich="class Careful:\n    pass\n"
    )
    message = refusal(registry.available, (plugin,))
    assert message.startswith(f"{plugin.with_name('rich.py')}:1: `import rich` finds ")
    assert message.endswith("first; rename this file")


def test_two_plugins_do_not_share_a_helper_by_its_name(tmp_path, write):
    one = write(plugin_of("from helper import Careful", "Careful"), helper=HELPER)
    registry.load("mine", (one,))
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "helper.py").write_text(HELPER.replace("version = 4", "version = 5"))
    two = folder / "plugin.py"
    two.write_text(one.read_text().replace("mine", "yours"))
    assert "finds " in refusal(registry.load, "yours", (two,))


def test_reading_runs_neither_helpers_nor_their_packages(write):
    plugin = write(
        plugin_of("from tools.inner import Careful", "Careful"),
        tools_in___init__="raise SystemExit('ran')\n",
        tools_in_inner=HELPER + "\nraise SystemExit('ran')\n",
    )
    assert registry.available((plugin,))["mine"].version == 4


def test_one_file_given_twice_is_one_method(write):
    plugin = write(plugin_of("", "PruneAtInit"))
    assert "mine" in registry.available((plugin, Path(plugin)))
