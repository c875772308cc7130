"""Files that benchmark.yaml includes: as if they stood in it, and blamed for their mistakes."""

import re
from pathlib import Path

import pytest

from pai_bench.config import loader
from pai_bench.core.errors import BenchError
from pai_bench.registry import methods as registry

METHODS = registry.available()
MAIN = """include: [papers/*/suites.yaml]
data:
  tiny: {classes: 2, shape: [1, 2, 2], images: [8, 4], mean: [0.5], std: [0.5]}
networks:
  net: {build: "mine:net"}
recipes:
  short: {epochs: 1, batch_size: 4, lr: 0.1}
suites:
  common: {about: x, network: net, data: tiny, recipe: short, densities: [0.1], seeds: [1],
           methods: [snip]}
"""
PART = """# of one paper
recipes:
  own: {epochs: 2, batch_size: 4, lr: 0.1}
suites:
  own:
    about: x
    network: net
    data: tiny
    recipe: own
    densities: [0.1]
    seeds: [1]
    methods: [magnitude]
papers:
  paper:
    title: t
    venue: v
    url: u
    methods: [snip]
    suites: {quick: common, own: own}
    protocol: own
"""


@pytest.fixture
def load(tmp_path):
    """Loads MAIN and what it includes: load(text of papers/a, text of papers/b, ..., main=MAIN)."""

    def read(*parts, main=MAIN):
        for name, text in zip("abc", parts, strict=False):
            (tmp_path / "papers" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "papers" / name / "suites.yaml").write_text(text)
        (tmp_path / "benchmark.yaml").write_text(main)
        return loader.load(tmp_path / "benchmark.yaml", METHODS)

    return read


def test_what_is_included_stands_beside_the_rest(load):
    settings = load(PART)
    assert list(settings.suites) == ["common", "own"]
    assert settings.recipes["own"].epochs == 2
    assert settings.papers["paper"].suites == {"quick": "common", "own": "own"}


def test_one_included_file_may_build_on_another(load):
    other = "suites:\n  third: {about: x, network: net, data: tiny, recipe: own, densities: [0.1],"
    settings = load(PART, f"{other} seeds: [1], methods: [snip]}}\n")
    assert settings.suites["third"].recipe == "own"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("recipes:", "recipe:", ':2: recipe: unknown key in an included file; did you mean "rec'),
        ("recipes:", "include: [x]\nrecipes:", ":2: include: unknown key in an included file"),
        ("    seeds: [1]", "    seed: [1]", ':11: suites.own.seed: unknown key; did you mean "see'),
        ("recipe: own", "recipe: won", ':9: suites.own.recipe: unknown recipe "won"; did you mean'),
        ("[magnitude]", "[magnitud]", ':12: suites.own.methods.0: unknown method "magnitud"; did'),
        ("protocol: own", "protocol: onw", ":20: papers.paper.protocol: unknown suite of this pa"),
        ("  own:\n", "  common:\n", ":5: suites.common: the name is taken by "),
        ("    about: x\n", "", ':5: suites.own: "about" is missing'),
        (PART, "- a\n", ":1: (top): write sections: data, networks, recipes, suites, papers"),
        (PART, "suites: [a]\n", ":1: suites: write names, and below each what it stands for"),
        (PART, "", ":1: the file is empty"),
        ("protocol: own", "protocol: on", ":20: papers.paper.protocol: input should be a valid "),
        ("epochs: 2", "epochs: two", ":3: recipes.own.epochs: "),
    ],
)
def test_a_mistake_is_one_line_of_the_included_file(load, tmp_path, old, new, says):
    with pytest.raises(BenchError) as caught:
        load(PART.replace(old, new, 1))
    assert str(caught.value).startswith(f"{tmp_path}/papers/a/suites.yaml{says}")
    assert "\n" not in str(caught.value)


def test_a_name_that_two_included_files_give_names_both(load, tmp_path):
    papers = re.escape(f"{tmp_path}/papers")
    says = rf"^{papers}/b/suites.yaml:3: recipes.own: .*{papers}/a/suites.yaml:3$"
    with pytest.raises(BenchError, match=says):
        load(PART, PART)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[nowhere/*.yaml]", r"benchmark.yaml:1: include.0: no file is called nowhere/\*.yaml in "),
        ("suites.yaml", "benchmark.yaml:1: include: write a list of file names"),
        ("[[a]]", "benchmark.yaml:1: include: write a list of file names"),
    ],
)
def test_files_that_cannot_be_included_raise(load, written, says):
    with pytest.raises(BenchError, match=says):
        load(PART, main=MAIN.replace("[papers/*/suites.yaml]", written))


def test_a_file_that_two_patterns_name_is_read_once_and_paths_may_be_absolute(load, tmp_path):
    patterns = f"[papers/*/suites.yaml, {tmp_path}/papers/a/*.yaml, '*.yaml']"
    settings = load(PART, main=MAIN.replace("[papers/*/suites.yaml]", patterns))
    assert list(settings.suites) == ["common", "own"]


def test_the_link_in_the_package_includes_the_same_as_the_checkout():
    root = Path(__file__).parents[2]
    shipped = loader.load(root / "benchmark.yaml", METHODS)
    assert loader.load(root / "pai_bench" / "benchmark.yaml", METHODS) == shipped
    assert set(shipped.papers) == {"dessilbi", "ntk-sap", "ntt", "rigl"}
