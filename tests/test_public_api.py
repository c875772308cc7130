"""What `from pai_bench import ...` gives: it is there, it is documented, and it comes late."""

import inspect
import subprocess
import sys

import pytest

import pai_bench
from pai_bench.methods.moving_masks import MovingMasks

FUNCTIONS = [name for name in pai_bench.__all__ if inspect.isfunction(getattr(pai_bench, name))]
CLASSES = [name for name in pai_bench.__all__ if name not in FUNCTIONS]
HOOKS = {"on_train_batch_start", "on_dense_gradients", "optimizer_step"}
"""Called by the Trainer, which documents their arguments."""
METHODS = [
    function
    for cls in (pai_bench.Masks, MovingMasks, pai_bench.DynamicSparse)
    for name, function in ((name, getattr(cls, name)) for name in vars(cls))
    if not name.startswith("_") and name not in HOOKS and inspect.isroutine(function)
]


def missing(function):
    """Sections that a docstring lacks, and arguments that it does not name."""
    said, signature = inspect.getdoc(function) or "", inspect.signature(function)
    names = [name for name in signature.parameters if name not in ("self", "cls")]
    sections = ["Args:"] * bool(names)
    sections += ["Returns:"] * (signature.return_annotation not in ("None", None))
    return [
        *(section for section in sections if section not in said),
        *(name for name in names if f"{name}: " not in said.partition("Args:")[2]),
    ]


def test_a_function_that_says_too_little_is_seen():
    def silent(one: int) -> int:
        """Do something."""

    assert missing(silent) == ["Args:", "Returns:", "one"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_what_they_take_and_return(name):
    assert missing(getattr(pai_bench, name)) == []


@pytest.mark.parametrize("function", METHODS, ids=lambda function: function.__qualname__)
def test_methods_to_call_or_override_say_what_they_take_and_return(function):
    assert missing(function) == []


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_documented(name):
    assert len(vars(getattr(pai_bench, name))["__doc__"].splitlines()) > 1


def test_nothing_else_is_public_and_a_wrong_name_is_an_error():
    assert set(pai_bench.__all__) <= set(dir(pai_bench))
    with pytest.raises(AttributeError, match="no attribute 'Mask'"):
        _ = pai_bench.Mask


def test_importing_the_package_and_declaring_imports_no_torch():
    code = (
        "import sys, pai_bench\n"
        "from pai_bench import register, network, dataset, metric\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
