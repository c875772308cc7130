"""One registry for all that has a name: methods, networks, data sets, metrics, launchers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pai_bench.core.errors import BenchError, unknown

Info = TypeVar("Info")


@dataclass(frozen=True)
class _Declared(Generic[Info]):
    info: Info
    origin: str
    load: Callable[[], Any]


class Registry(Mapping[str, Info]):
    """What is declared of each name; the thing itself is imported when it is loaded.

    A mapping from name to what is declared (`Info`): facts, settings, a function's description.
    Listing and looking up import nothing. A name belongs to whoever declared it first; who declares
    it again from the same place (a file that is named twice) changes nothing.

    >>> fruit = Registry[str]("fruit")
    >>> fruit.declare("apple", "round", origin="garden.py:1", load=lambda: "an apple")
    >>> fruit["apple"], fruit.load("apple"), fruit.origin("apple")
    ('round', 'an apple', 'garden.py:1')
    >>> fruit["appel"]
    Traceback (most recent call last):
    pai_bench.core.errors.BenchError: unknown fruit "appel"; did you mean "apple"?
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        """What the names are names of, as messages say it."""
        self._declared: dict[str, _Declared[Info]] = {}

    def declare(
        self,
        name: str,
        info: Info,
        *,
        origin: str,
        load: Callable[[], Any] | None = None,
        required: bool = True,
    ) -> None:
        """Take a name, unless somebody has it.

        Args:
            name: What users write.
            info: What is known of it without importing it.
            origin: File and line, or package, that declares it.
            load: Imports and returns the thing itself; without it, `info` is all there is.
            required: True raises where the name is taken (a file that the user named); False
                passes over it with one line on standard error (an installed package).

        Raises:
            BenchError: The name is taken by another origin; the line names both.
        """
        existing = self._declared.get(name)
        if existing is None:
            self._declared[name] = _Declared(info, origin, load or (lambda: info))
        if existing is None or existing.origin == origin:
            return
        problem = f'{origin}: the {self.kind} "{name}" is taken by {existing.origin}'
        if required:
            raise BenchError(f"{problem}; choose another name")
        print(f"pai-bench: {problem}; passed over", file=sys.stderr)

    def copy(self) -> Registry[Info]:
        """Return another registry with the same names; what is declared in it stays in it."""
        other = Registry[Info](self.kind)
        other._declared.update(self._declared)
        return other

    def load(self, name: str) -> Any:
        """Import and return what `name` stands for. Raises BenchError for an unknown name."""
        return self._of(name).load()

    def origin(self, name: str) -> str:
        """Say who declares `name`. Raises BenchError for an unknown name."""
        return self._of(name).origin

    def __getitem__(self, name: str) -> Info:
        return self._of(name).info

    def get(self, name: str, default: Any = None) -> Any:
        """What is declared of `name`, or `default`."""
        return self._declared[name].info if name in self._declared else default

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def _of(self, name: str) -> _Declared[Info]:
        if name not in self._declared:
            raise unknown(self.kind, name, self._declared)
        return self._declared[name]
