"""Template of a new method: one small file that works, and its test."""

from __future__ import annotations

import re
from pathlib import Path

from pai_bench.core.errors import BenchError

_METHOD = '''"""{title}: describe in one line what it does."""

from pai_bench import PruneAtInit, prunable, register


@register("{name}")
class {cls}(PruneAtInit):
    """Keep the weights with the largest |w|: put your own score in its place."""

    needs_data = False  # True: `batches` hold images
    needs_labels = False  # True: and labels

    def scores(self, network, batches):
        return {{name: weight.detach().abs() for name, weight in prunable(network)}}
'''

_TEST = '''"""{title} keeps to the rules of every method."""

from pathlib import Path

from pai_bench import assert_conforms


def test_it_conforms():
    assert_conforms("{name}", (Path(__file__).with_name("{file}.py"),))
'''


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Write the file of a method called `name`, and its test, into `folder`; return both paths.

    Raises:
        BenchError: The name is not made of lowercase letters, digits and dashes, or a file exists.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> [path.name for path in write("my-method", folder)]
    ['my_method.py', 'test_my_method.py']
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise BenchError(f'"{name}" is not a valid method name: write it like my-method')
    file = name.replace("-", "_")
    words = name.split("-")
    fields = {"name": name, "file": file, "title": " ".join(words).capitalize()}
    fields["cls"] = "".join(word.capitalize() for word in words)
    paths = folder / f"{file}.py", folder / f"test_{file}.py"
    for path in paths:
        if path.exists():
            raise BenchError(f"{path}: exists already; nothing was written")
    for path, text in zip(paths, (_METHOD, _TEST), strict=True):
        path.write_text(text.format(**fields), encoding="utf-8")
    return paths
