"""Searches of the search cache, run by all the devices that train one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pai_bench.core import distributed
from pai_bench.store.search_cache import Search, SearchCache
from pai_bench.training.search_checkpoint import SearchCheckpoint


def get_or_compute(
    cache: SearchCache,
    settings: Mapping[str, Any],
    compute: Callable[[], Search],
    checkpoint: SearchCheckpoint,
) -> tuple[str, Search]:
    """Return id and outcome of a search, as `SearchCache.get_or_compute`, on every rank.

    The first rank alone looks into the cache, and holds its lock; where there is nothing yet, all
    of them compute together. One that searches alone resumes from `checkpoint`.
    """
    if distributed.ranks() == 1:

        def resumed() -> Search:
            with checkpoint.at(cache.checkpoint(settings)):
                return replace(compute(), seconds=checkpoint.earlier_seconds)

        return cache.get_or_compute(settings, resumed)
    if distributed.rank():
        if distributed.of_first(False):
            compute()
        return distributed.of_first(("", Search({}, 0.0)))
    is_computed = False

    def together() -> Search:
        nonlocal is_computed
        is_computed = distributed.of_first(True)
        return compute()

    found = cache.get_or_compute(settings, together)
    if not is_computed:
        distributed.of_first(False)
    return distributed.of_first(found)
