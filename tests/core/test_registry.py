"""Names, near misses, clashes and lazy loading, once for all kinds of things that have a name."""

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.core.registry import Registry


@pytest.fixture
def fruit():
    registry = Registry[str]("fruit")
    registry.declare("apple", "round", origin="garden.py:1", load=lambda: 1 / 0)
    return registry


def test_it_is_a_mapping_of_what_is_declared_and_loads_nothing(fruit):
    assert dict(fruit) == {"apple": "round"}
    assert ("apple" in fruit, "pear" in fruit, len(fruit)) == (True, False, 1)
    assert (fruit.get("pear"), fruit.get("apple")) == (None, "round")
    with pytest.raises(ZeroDivisionError):
        fruit.load("apple")


def test_without_a_loader_what_is_declared_is_all_there_is(fruit):
    fruit.declare("pear", "long", origin="garden.py:2")
    assert fruit.load("pear") == "long"


@pytest.mark.parametrize("ask", ["__getitem__", "load", "origin"])
def test_an_unknown_name_gets_a_suggestion(fruit, ask):
    with pytest.raises(BenchError, match='unknown fruit "aple"; did you mean "apple"'):
        getattr(fruit, ask)("aple")


def test_a_taken_name_names_both_origins(fruit, capsys):
    problem = 'mine.py:3: the fruit "apple" is taken by garden.py:1'
    with pytest.raises(BenchError, match=f"{problem}; choose another name"):
        fruit.declare("apple", "flat", origin="mine.py:3")
    fruit.declare("apple", "flat", origin="mine.py:3", required=False)
    assert capsys.readouterr().err == f"pai-bench: {problem}; passed over\n"
    assert fruit["apple"] == "round"


def test_the_same_origin_may_declare_again(fruit):
    fruit.declare("apple", "round", origin="garden.py:1")
    assert len(fruit) == 1


def test_a_copy_keeps_its_declarations_to_itself(fruit):
    other = fruit.copy()
    other.declare("pear", "long", origin="garden.py:2")
    assert (list(other), list(fruit)) == (["apple", "pear"], ["apple"])
