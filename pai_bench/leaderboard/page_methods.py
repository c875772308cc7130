"""Methods on a page: what they declare."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pai_bench.config.schema import SanityCheck
from pai_bench.core.redact import redact_text
from pai_bench.registry.declaration import MethodInfo

CHECKS: Mapping[SanityCheck, str] = {
    "layerwise-shuffle": "each layer keeps as many weights as the method gave it, at random places",
    "reinitialise": "the masks stay, training starts from other initial weights",
    "invert": "in each round the weights with the lowest scores are kept",
    "random-labels": "the batches that are scored have labels drawn at random",
    "random-pixels": "the values of each scored image are shuffled within the image",
}
"""What each sanity check does (training/sanity_checks.py)."""


def methods_data(
    methods: Mapping[str, MethodInfo], shown: Collection[str], of_papers: Collection[str]
) -> dict[str, Any]:
    """What the methods of the boards declare, by name, in alphabetical order."""
    return {
        name: method_data(methods[name], name in of_papers)
        for name in sorted(shown)
        if name in methods
    }


def method_data(info: MethodInfo, of_paper: bool) -> dict[str, Any]:
    """One method: facts and hyper-parameters with their defaults."""
    return {
        "about": info.about,
        "kind": kind(info.prunes, of_paper),
        "paper": info.paper,
        "when": info.when,
        "needs_data": info.needs_data,
        "needs_labels": info.needs_labels,
        "version": info.version,
        "origin": redact_text(info.origin),
        "hyper": {
            name: {"kind": parameter.kind, "value": parameter.default}
            for name, parameter in info.hyper.items()
        },
    }


def kind(prunes: bool, of_paper: bool) -> str:
    """What a method is on a leaderboard: of a paper, a baseline, or the dense reference."""
    return "paper" if of_paper else "baseline" if prunes else "reference"
