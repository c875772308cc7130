"""Suites with something changed: `mnist+network=lenet-5+epochs=5` is a suite of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from pai_bench.config.document import Loader
from pai_bench.config.launchers import Launchers
from pai_bench.config.scaling import scale_schedule
from pai_bench.config.schema import Benchmark, Network, Recipe
from pai_bench.config.settings import Settings
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, check_name, first_line, unknown

_Any = TypeVar("_Any", bound=Settings)


def with_overrides(settings: Benchmark, name: str) -> Benchmark:
    """Return settings that also hold the suite `name`.

    A name may be that of a suite of benchmark.yaml, followed by changes: `+network=NAME` for
    another network (a known one, or `module:function` of one's own), `+data=NAME` for another data
    set, `+validation=PART` to hold out a part of the training images and evaluate on it,
    `+length=TIMES` for a longer or shorter training (scaling.py), `+KEY=VALUE` for any key of the
    recipe. The changed suite has its own folder of results and its
    own leaderboard: cells of different recipes never meet.

    Raises BenchError for an unknown suite, network or key, or a value that the key cannot have.
    """
    check_name("suite", name)
    base, *changes = name.split("+")
    if base not in settings.suites:
        raise unknown("suite", base, settings.suites)
    if not changes:
        return settings
    pairs = dict(_pair(name, change) for change in changes)
    if "validation" in pairs:
        pairs |= {"holdout": pairs.pop("validation"), "evaluate": "validation"}
    times = pairs.pop("length", 1)
    suite = settings.suites[base]
    network, data = pairs.pop("network", suite.network), pairs.pop("data", suite.data)
    if data not in settings.data:
        raise unknown("data set", str(data), settings.data, f"{name}: ")
    recipe = changed_recipe(settings.recipes[suite.recipe], pairs, name)
    images = round(settings.data[data].images[0] * (1 - recipe.holdout))
    recipe = changed_recipe(recipe, scale_schedule(recipe, times, images, name), name)
    about = f"{suite.about} Changed: {', '.join(changes)}."
    parts = {"about": about, "network": str(network), "data": data, "recipe": name}
    changed = suite.model_copy(update=parts)
    return settings.model_copy(
        update={
            "networks": {**settings.networks, **_network(settings, str(network))},
            "recipes": {**settings.recipes, name: recipe},
            "suites": {**settings.suites, name: changed},
        }
    )


def _pair(name: str, change: str) -> tuple[str, Any]:
    key, equals, value = change.partition("=")
    if not (key and equals and value):
        raise BenchError(f'suite {name}: write changes as +KEY=VALUE, not "+{change}"')
    return key, _value(name, key, value)


def _value(where: str, key: str, text: str) -> Any:
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BenchError(f"{where}: {key}: cannot be read: {first_line(error)}") from None


def changed_recipe(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """Change keys of a recipe; a wrong key or value is one line that begins with `where`."""
    for key in changes:
        if key not in Recipe.model_fields:
            raise unknown(
                "key of a recipe",
                key,
                ["network", "data", "validation", "length", *Recipe.model_fields],
                f"{where}: ",
            )
    return _changed(recipe, changes, where)


def with_launcher_options(settings: Benchmark, launcher: str, options: Sequence[str]) -> Benchmark:
    """Change options of a launcher, each given as `KEY=VALUE`.

    Raises BenchError for a launcher without options, an unknown key, or an impossible value.
    """
    if not options:
        return settings
    where = f"launcher {launcher}"
    known = getattr(settings.launchers, launcher, None)
    if launcher not in Launchers.model_fields or known is None:
        names = " and ".join(Launchers.model_fields)
        raise BenchError(f"{where}: it has no options; {names} have some")
    changes: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in type(known).model_fields:
            raise unknown("option", key, type(known).model_fields, f"{where}: ")
        changes[key] = _value(where, key, value)
    changed = {launcher: _changed(known, changes, where)}
    launchers = settings.launchers.model_copy(update=changed)
    return settings.model_copy(update={"launchers": launchers})


def _changed(settings: _Any, changes: Mapping[str, Any], where: str) -> _Any:
    """Change keys of settings; a wrong value is one line that begins with `where`."""
    fields = {**settings.model_dump(mode="json"), **changes}
    try:
        return type(settings).model_validate_json(json.dumps(fields, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise BenchError(f"{where}: {key}: {first['msg'].lower()}".replace(": :", ":")) from None


def _network(settings: Benchmark, name: str) -> dict[str, Network]:
    """Settings of a network that benchmark.yaml does not have; empty if it has it."""
    if name in settings.networks:
        return {}
    if ":" not in name:
        names = [*settings.networks, "module:function"]
        raise unknown("network", name, names)
    return {name: Network(build=name, version=_version(name))}


def _version(target: str) -> int:
    """Version of a network of one's own: the digest of its file, so that a change is noticed."""
    try:
        return int(import_utils.digest(target)[:8], 16) or 1
    except BenchError as error:
        raise BenchError(f"network {target}: {error}") from None
