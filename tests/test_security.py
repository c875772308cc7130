"""Nothing that is loaded runs code, and no name leaves the folder that it is used in."""

import ast
from pathlib import Path

import pytest

import pai_bench
from pai_bench.config import loader
from pai_bench.config.overrides import with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.leaderboard import export, markdown
from pai_bench.registry import methods as registry
from pai_bench.registry.plugins import extend

PACKAGE = Path(pai_bench.__file__).parent
SAFE_LOADERS = {"Loader", "yaml.SafeLoader", "yaml.CSafeLoader", "loader"}
NAMES = ("../up", "a/b", "..", ".hidden", "a\\\\b", "=1+1", "@SUM(A1)", "a\\nb", "a\\x1b[31m")


def calls():
    """(file, called name, call) of every call in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "evidence" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield path.relative_to(PACKAGE), ast.unparse(node.func), node


def keywords(call):
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def test_no_file_is_loaded_by_what_runs_code():
    unsafe = {"eval", "exec", "pickle.load", "pickle.loads", "dill.load", "joblib.load",
              "marshal.loads", "shelve.open", "yaml.unsafe_load", "yaml.full_load",
              "os.system", "os.popen", "torch.jit.load"}  # fmt: skip
    found = [(str(path), ast.unparse(call)) for path, name, call in calls() if name in unsafe]
    # What it copies itself is no file, nor what its own processes send through a pipe.
    no_file = ("pickle.loads(pickle.dumps(", "pickle.loads(pipe.recv_bytes())")
    assert [call for call in found if not call[1].startswith(no_file)] == []


def test_tensors_are_loaded_as_weights_only():
    loads = [(path, keywords(call)) for path, name, call in calls() if name == "torch.load"]
    assert len(loads) >= 2
    assert [path for path, given in loads if given.get("weights_only") != "True"] == []
    resumed = [call for _, name, call in calls() if name.endswith(("trainer.fit", "_trainer.fit"))]
    for call in resumed:
        given = keywords(call)
        assert "ckpt_path" not in given or given.get("weights_only") == "True"


def test_yaml_is_read_by_safe_loaders():
    loads = [call for _, name, call in calls() if name in ("yaml.load", "yaml.load_all")]
    assert loads
    for call in loads:
        given = [*map(ast.unparse, call.args[1:]), *keywords(call).values()]
        assert set(given) <= SAFE_LOADERS


def test_no_command_is_run_through_a_shell():
    for path, name, call in calls():
        if name.startswith("subprocess."):
            assert keywords(call).get("shell", "False") == "False", path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["network", "dataset", "register"])
def test_a_plugin_cannot_declare_a_name_that_leaves_its_folder(tmp_path, settings, kind, name):
    path, text = tmp_path / "mine.py", name.encode().decode("unicode_escape")
    more = ", classes=2, shape=[1, 1, 1], images=[1, 1], mean=[0.5], std=[0.5]"
    body = "class Mine(PruneAtInit):\n    pass" if kind == "register" else "def make():\n    pass"
    path.write_text(
        f"from pai_bench import PruneAtInit, {kind}\n"
        f"@{kind}({text!r}{more if kind == 'dataset' else ''})\n{body}\n"
    )
    with pytest.raises(BenchError, match=r"mine\.py:\d+: .* a name has no slash, and no sign"):
        extend(settings, (path,)) if kind != "register" else registry.available((path,))


@pytest.mark.parametrize("name", ["Bad Name", "a,b", "snip (rounds=2)"])
def test_a_method_has_a_name_that_can_be_asked_for(tmp_path, name):
    path = tmp_path / "mine.py"
    path.write_text(
        f"from pai_bench import PruneAtInit, register\n@register({name!r})\n"
        "class Mine(PruneAtInit):\n    pass\n"
    )
    with pytest.raises(BenchError, match=r"mine\.py:\d+: .* no blank, comma or bracket"):
        registry.available((path,))


@pytest.mark.parametrize("section", ["data", "networks", "recipes", "suites"])
def test_settings_cannot_name_what_leaves_the_folder_of_results(tmp_path, methods, section):
    from .fuzz.inputs import SETTINGS

    first = SETTINGS[SETTINGS.index(f"{section}:\n") :].splitlines()[1].strip(" :")
    path = tmp_path / "benchmark.yaml"
    path.write_text(SETTINGS.replace(f"  {first}:\n", "  ../up:\n"))
    with pytest.raises(BenchError, match=r"benchmark\.yaml:\d+: .*a name has no slash"):
        loader.load(path, methods)


@pytest.mark.parametrize("change", ["network=../up:build", "data=../digits", "epochs=1/../.."])
def test_a_change_of_a_suite_cannot_leave_the_folder_of_results(settings, change):
    with pytest.raises(BenchError, match="a name has no slash"):
        with_overrides(settings, f"quick+{change}")


def test_what_a_hyper_parameter_says_stays_in_its_cell_of_a_table():
    hostile = "x\n| a | <script>alert(1)</script> \\input{/etc/passwd} %\r\n[b](javascript:1)"
    shown = markdown.escaped(hostile)
    assert "\n" not in shown
    assert not set("|<>[]") & set(
        shown.replace("\\", "\0")
        .replace("\0|", "")
        .replace("\0<", "")
        .replace("\0>", "")
        .replace("\0[", "")
        .replace("\0]", "")
    )
    latex = export._latex_text(hostile)
    assert "\n" not in latex
    assert "\\input" not in latex
