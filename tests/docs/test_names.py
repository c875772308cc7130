"""What pages name in code letters is there: modules, classes, functions and files of ours."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for folder in ("docs/pages", "baselines", "reproductions")
    for page in (ROOT / folder).rglob("*.md")
)
NAME = re.compile(r"`(pai_bench(?:\.\w+)+)")
FILE = re.compile(r"`((?:pai_bench|tests|baselines|reproductions|docs)/[\w/.-]+\.\w+)`")


def found(name):
    """The object with a dotted name.

    Raises AttributeError or ImportError if there is none.
    """
    module, *rest = name.split(".")
    there = import_module(module)
    for part in rest:
        module = f"{module}.{part}"
        there = getattr(there, part) if hasattr(there, part) else import_module(module)
    return there


def test_a_name_that_is_not_there_is_seen():
    assert found("pai_bench.networks.ntk.spectrum.eigenvalues").__name__ == "eigenvalues"
    with pytest.raises(ImportError):
        found("pai_bench.networks.ntk.spectrum.spectrum")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *PAGES], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_names_and_files_are_there(page):
    text = page.read_text(encoding="utf-8")
    for name in NAME.findall(text):
        assert found(name) is not None
    assert [path for path in FILE.findall(text) if not (ROOT / path).exists()] == []
