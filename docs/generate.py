"""Pages of the documentation that are made from the code: methods, and commands."""

from __future__ import annotations

import argparse
import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pai_bench.cli.parser import build_parser
from pai_bench.config import loader
from pai_bench.config.schema import Benchmark
from pai_bench.registry import methods as registry
from pai_bench.registry.declaration import MethodInfo

ROOT = Path(__file__).parents[1]
PAGES = Path(__file__).with_name("pages")
RULES = ("scores", "growth", "loss", "progress", "counts", "sparsify")
"""What a method overrides to choose masks; its docstrings have the formulas."""


def main() -> None:
    """Write the pages into the folder of the others; git ignores them."""
    methods = registry.available()
    settings = loader.load(ROOT / "benchmark.yaml", methods)
    pages = {f"methods/{name}.md": method_page(methods[name], settings) for name in methods}
    pages["methods/index.md"] = methods_page(list(methods.values()), settings)
    pages["reference/commands.md"] = commands_page(build_parser())
    for path, content in pages.items():
        target = PAGES / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")


def methods_page(methods: list[MethodInfo], settings: Benchmark) -> str:
    """The list of all methods: those of papers first."""
    of_papers = settings.methods_of_papers()
    rows = [
        f"| [{info.name}]({info.name}.md) | {info.about} | {info.paper or ''} |"
        for info in sorted(methods, key=lambda info: (info.name not in of_papers, info.name))
    ]
    heading = "# Methods\n\n| name | what it does | source |\n|---|---|---|"
    return "\n".join([heading, *rows, ""])


def method_page(info: MethodInfo, settings: Benchmark) -> str:
    """One method: what it does, its rule, what it declares, its hyper-parameters, its suites."""
    method = registry.load(info.name)
    title = (inspect.getdoc(inspect.getmodule(method)) or "").splitlines()[0]
    lines = [f"# {info.name}", "", f"*{title}*", "", inspect.getdoc(method) or "", ""]
    rules = [
        (name, inspect.cleandoc(found.__doc__))
        for name in RULES
        if (found := vars(method).get(name)) is not None and found.__doc__
    ]
    for name, text in rules:
        lines += [f"`{name}`", "", textwrap.indent(text, "> "), ""]
    lines += ["| | |", "|---|---|", *_facts(info), ""]
    lines += ["## Hyper-parameters", "", *_hyper(info, method), ""]
    lines += ["## Suites", "", *_suites(info, settings), ""]
    return "\n".join(lines)


def _facts(info: MethodInfo) -> Iterator[str]:
    when = {"init": "before training", "during": "while it trains", "path": "after a training"}
    yield f"| source | {info.paper or 'none'} |"
    yield f"| chooses masks | {when[info.when] if info.prunes else 'never: it does not prune'} |"
    yield f"| looks at data, labels | {_said(info.needs_data)}, {_said(info.needs_labels)} |"
    yield f"| changes the initial weights | {_said(info.changes_weights)} |"
    yield f"| version | {info.version} |"
    yield f"| file | `{info.origin}` |"


def _said(yes: bool) -> str:
    return "yes" if yes else "no"


def _hyper(info: MethodInfo, method: Any) -> Iterator[str]:
    if not info.hyper:
        yield "None."
        return
    about = _field_docstrings(method.Hyper)
    yield "| name | default | values | |\n|---|---|---|---|"
    for name, parameter in info.hyper.items():
        kind = parameter.kind.removeprefix("Literal[").removesuffix("]").replace("|", "\\|")
        text = " ".join(about.get(name, "").split()).replace("|", "\\|")
        yield f"| `{name}` | `{parameter.default!r}` | {kind} | {text} |"


def _field_docstrings(hyper: type) -> dict[str, str]:
    """Docstrings that stand below the fields of a dataclass and its bases."""
    found: dict[str, str] = {}
    for cls in reversed(hyper.__mro__[:-1]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(tree, ast.ClassDef)
        for statement, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(statement.target, ast.Name)
                found[statement.target.id] = str(ast.literal_eval(below.value))
    return found


def _suites(info: MethodInfo, settings: Benchmark) -> Iterator[str]:
    for name, suite in settings.suites.items():
        entries = [entry if isinstance(entry, dict) else {entry: {}} for entry in suite.methods]
        lines = [hyper for entry in entries for method, hyper in entry.items()
                 if method == info.name]  # fmt: skip
        for hyper in lines:
            chosen = ", ".join(f"{key}={value}" for key, value in hyper.items())
            yield f"- `{name}`{f': {chosen}' if chosen else ''}"


def commands_page(parser: argparse.ArgumentParser) -> str:
    """The help of every command."""
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = [
        "# Commands",
        "",
        "`make help` lists the targets of the Makefile, each of which is one of these.",
        "",
    ]
    for name, command in commands.choices.items():
        text = textwrap.indent(command.format_help(), "    ")
        parts += [f"## pai-bench {name}", "", text, ""]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
