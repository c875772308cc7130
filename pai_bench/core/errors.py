"""What a user did that cannot work, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake in what was asked: the command line prints it without a traceback and exits 2."""


class BenchWarning(UserWarning):
    """A result that may mislead whoever does not know what is said with it."""


def first_line(error: BaseException) -> str:
    r"""What an error says, cut to its first line.

    >>> first_line(ValueError("bad\nand more"))
    'bad'
    """
    return str(error).strip().partition("\n")[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Hint at the known name nearest to `name`, or list the known names.

    >>> did_you_mean("snpi", ["snip", "random"])
    'did you mean "snip"?'
    >>> did_you_mean("x", ["snip", "random"])
    'known: random, snip'
    >>> did_you_mean("x", [])
    'none is known'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names)}" if names else "none is known"


def check_name(kind: str, name: str, where: str = "") -> None:
    """Refuse a name that would leave the folder that it is used in, or be a formula in a table.

    Raises BenchError, which begins with `where`.

    >>> check_name("suite", "quick+lr=0.1")
    >>> check_name("suite", "../quick")
    Traceback (most recent call last):
    pai_bench.core.errors.BenchError: suite '../quick': a name has no slash, and no sign first
    """
    if not name.isprintable() or name[:1] in ("", *".=+-@") or "/" in name or "\\" in name:
        raise BenchError(f"{where}{kind} {name!r}: a name has no slash, and no sign first")


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> BenchError:
    """Build the error for a name that nobody declared."""
    return BenchError(f'{where}unknown {kind} "{name}"; {did_you_mean(name, known)}')
