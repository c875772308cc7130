"""Shows doctests of docstrings as examples: a Griffe extension."""

from __future__ import annotations

from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Puts the doctests at the end of a docstring into a section, as Google's style asks."""

    def on_instance(self, *, obj: griffe.Object | griffe.Alias, **kwargs: Any) -> None:
        """Change the docstring of an object that has been read."""
        if obj.is_alias or obj.docstring is None:
            return
        text, prompt, tests = obj.docstring.value.partition("\n>>> ")
        if prompt:
            lines = [f"    {line}".rstrip() for line in f">>> {tests}".splitlines()]
            obj.docstring.value = "\n".join([text, "Examples:", *lines])
