"""Packages form layers: each imports what is below it, and never what is above."""

import ast
from pathlib import Path

import pytest

import pai_bench

PACKAGE = Path(pai_bench.__file__).parent
LAYERS = (
    "cli", "bench", "leaderboard", "claims", "launch", "methods", "training", "store",
    "experiment", "networks", "data", "sparsity", "registry", "config", "core",
)  # fmt: skip
"""From the top down. baselines and reproductions stand on `claims`, and nothing stands on them."""
PLUGINS = ("baselines", "reproductions")


def imported(path):
    """Modules of this project that a file imports, anywhere in it, types included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (name for name in names if name.startswith("pai_bench."))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pai_bench."))


def arrows(folder):
    """(importing file, package that it imports) for every file below a folder of the package."""
    return {
        (path.relative_to(PACKAGE).as_posix(), name.split(".")[1])
        for path in (PACKAGE / folder).rglob("*.py")
        if "evidence" not in path.parts
        for name in imported(path)
        if name.split(".")[1] in (*LAYERS, *PLUGINS)
    }


def test_every_package_has_its_layer():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == {*LAYERS, *PLUGINS}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_package_imports_only_what_is_below_it(layer):
    below = LAYERS[LAYERS.index(layer) :]
    assert not [arrow for arrow in arrows(layer) if arrow[1] not in below]


@pytest.mark.parametrize("folder", PLUGINS)
def test_methods_stand_on_claims_and_below(folder):
    below = {folder, *LAYERS[LAYERS.index("claims") :]}
    assert not [arrow for arrow in arrows(folder) if arrow[1] not in below]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_first_line_says_what_a_package_is_for_and_what_it_imports(layer):
    first = (PACKAGE / layer / "__init__.py").read_text(encoding="utf-8").splitlines()[0]
    below = LAYERS[LAYERS.index(layer) + 1 :]
    says = f"imports {below[0]}{' and below' * (len(below) > 1)}" if below else "imports nothing"
    assert says in first, first


def test_an_import_inside_a_function_is_seen_too(tmp_path):
    path = tmp_path / "errors.py"
    path.write_text("def f():\n    from pai_bench.cli import main\n")
    assert list(imported(path)) == ["pai_bench.cli", "pai_bench.cli.main"]
