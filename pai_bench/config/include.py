"""Files that benchmark.yaml includes: the suites, recipes, networks and data sets of one paper."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from pai_bench.config.document import Document
from pai_bench.core.errors import did_you_mean

SECTIONS = ("data", "networks", "recipes", "suites", "papers")
"""What an included file may hold."""


def read(path: Path) -> Document:
    """Read a file of settings together with those that its `include:` names.

    Patterns are relative to the file. A name that two files give is an error, not a choice.

    Raises:
        BenchError: One line, of the included file where it is that one's mistake.
    """
    document = Document(path)
    if isinstance(document.content, dict):
        for part in _included(document):
            _merge(document, Document(part))
    return document


def _included(document: Document) -> Iterator[Path]:
    """Files that match, each once, in the order of patterns and then of names."""
    patterns = document.content.get("include", [])
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise document.error(("include",), "write a list of file names, which may hold * and ?")
    seen = {document.path.resolve()}
    for index, pattern in enumerate(patterns):
        folder = document.path.parent
        # Unlike Path.glob, this takes absolute patterns too.
        matches = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
        if not matches:
            raise document.error(("include", index), f"no file is called {pattern} in {folder}")
        for path in (folder / match for match in matches):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _merge(document: Document, part: Document) -> None:
    """Add all that an included file holds. Raises BenchError for what it may not hold."""
    if not isinstance(part.content, dict):
        raise part.error((), f"write sections: {', '.join(SECTIONS)}")
    for section, entries in part.content.items():
        if section not in SECTIONS:
            hint = did_you_mean(str(section), SECTIONS)
            raise part.error((section,), f"unknown key in an included file; {hint}")
        for holder, content in ((part, entries), (document, document.content.get(section, {}))):
            if not isinstance(content, dict):
                raise holder.error((section,), "write names, and below each what it stands for")
        for name in entries:
            if name in document.content.get(section, {}):
                problem = f"the name is taken by {document.where((section, str(name)))}"
                raise part.error((section, str(name)), problem)
            document.take(part, section, name)
