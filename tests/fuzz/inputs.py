"""Malformed inputs from a seed: settings, options, plugin files, stored results.

Each generator starts from what is right, and spoils one to three places of it.
"""

import json
import random
import re

from pai_bench.store.integrity import sealed, sha256

NUMBERS = (
    "0", "-1", "1", "3", "010", "1:30", "0.5", "1e-4", "1e999", "-0.0", ".inf", ".nan", "NaN",
    "1_000", "0x10", str(2**31), str(2**63), "9" * 400, "9" * 5000, "1e-320", "½", "³",
)  # fmt: skip
TEXTS = (
    "", " ", "~", "null", "true", "off", "é", "\u202e", "\ud800", "\x00", "\x1b[31m", "a" * 3000,
    "../up", "/etc/passwd", "a/b", "..", "snip", "quick", "quick+epochs=2", "quick+", "+", "[",
    "]", "{", "}", "<script>alert(1)</script>", "%s%n", "$(id)", "`id`", "*", "&a",
    "!!python/object:os.system", "2020-01-01", "- a", "a: b", "a:b:c", "os:system", "'", '"',
    "\\", "\n", "\t", "#",
)  # fmt: skip
DEEP = 3000


class Inputs:
    """Random choices from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def spoiled(self, text, places, values):
        """Replace one to three of the parts of a text that `places` matches."""
        for _ in range(self.random.randint(1, 3)):
            found = list(re.finditer(places, text))
            if found:
                start, end = self.random.choice(found).span()
                text = text[:start] + self.random.choice(values) + text[end:]
        return self._noise(text)

    def _noise(self, text):
        """Now and then a letter too many, a line less, or the end cut off."""
        at = self.random.randrange(len(text) + 1)
        return self.random.choice([
            lambda: text, lambda: text, lambda: text, lambda: text[:at],
            lambda: text[:at] + self.random.choice(TEXTS) + text[at:],
            lambda: re.sub(r"[^\n]*\n", "", text[:at], count=1) + text[at:],
        ])()  # fmt: skip


YAML_VALUES = (
    *NUMBERS, *TEXTS, "[" * DEEP + "]" * DEEP, "{a: " * DEEP + "1" + "}" * DEEP,
    "[" * 60 + "]" * 60, "&a [*a]", "&a {b: *a}", "{[1, 2]: 3}", "{{a: b}: c}", "{1: 2}",
    "{null: 1}", "{true: 1}", "[]", "{}", "!!binary aGk=", "!!set {a}", "!!timestamp 2020-01-01",
    "!!omap [a: 1]", "!!float x", "!!int x", "!own x", "? a", "<<: {a: 1}",
    "[snip: {scope: [1]}]", "[{snip: {scope: {a: b}}}]", "[{dense: {}, snip: {}}]", "[[]]",
    "[null]", "[1, 1]", "|", ">", "\n  - a", "\n    a: b", "*nothing",
)  # fmt: skip
SETTINGS = """\
include: []
mirror: null
threads: 1
deterministic: true
stack: auto
data:
  digits:
    classes: 10
    shape: [1, 8, 8]
    images: [1438, 359]
    mean: [0.5]
    std: [0.25]
networks:
  lenet:
    build: pai_bench.networks.lenet:lenet_300_100
    init: null
    dense: []
    version: 1
    macs: {digits: 50000}
recipes:
  short:
    epochs: 2
    batch_size: 100
    lr: 0.1
    momentum: 0.9
    schedule: step
    milestones: [1]
    warmup: 0.0
    holdout: 0.0
suites:
  quick:
    about: A trial.
    network: lenet
    data: digits
    recipe: short
    densities: [0.5, 0.1]
    seeds: [1, 2]
    methods: [dense, snip, {random: {scope: local}}]
    sanity_checks: [invert]
papers:
  ntk-sap:
    title: A title
    venue: ICLR
    url: https://example.org
    methods: [ntk-sap]
    suites: {quick: quick}
    protocol: quick
campaigns:
  gpu:
    - {suite: quick, methods: [snip], densities: [0.1], seeds: [1], evidence: here}
wandb:
  project: pai-bench
  mode: auto
launchers:
  slurm:
    partition: gpu
    minutes: 60
    gpus: 1
    memory_gb: 8
    setup: [module load cuda]
    options: {constraint: a100}
  ray: {address: "10.0.0.1:6379", cpus: 2, jobs: 4}
"""


def settings(seed):
    """The text of a file of settings."""
    return Inputs(seed).spoiled(
        SETTINGS, r"(?<=: )[^\n]+|[\w.-]+(?=:)|(?<=[\[ ,])[\w.-]+", YAML_VALUES
    )


COMMANDS = (
    ("plan", "quick"), ("plan",), ("plan", "--paper", "ntk-sap"),
    ("leaderboard", "--suite", "quick"), ("leaderboard",), ("compare", "snip", "random"),
    ("export", "quick", "--format", "markdown"), ("export", "quick", "--output", "out.csv"),
    ("claims", "ntk-sap"), ("show", "abc"), ("methods",), ("networks",), ("datasets",),
    ("verify",), ("evidence", "quick", "kept"), ("data", "digits"), ("evidence-report", "nobody"),
    ("new-method", "my-method"), ("campaign", "nobody"), ("account", "none"),
)  # fmt: skip
"""None of these trains, whatever follows it."""
OPTIONS = (
    "--methods", "--densities", "--seeds", "--sanity-check", "--network", "--data", "--set",
    "--validation", "--precision", "--jobs", "--accelerator", "--devices", "--strategy",
    "--accumulate", "--stack", "--launcher", "--launcher-option", "--budget", "--wandb", "--suite",
    "--paper", "--format", "--output", "--runs", "--config", "--plugin", "--rerun", "--json",
    "--bibtex", "--nothing", "-x", "--",
)  # fmt: skip
ARGUMENTS = tuple(text for text in TEXTS if text not in ("\x00", "\ud800"))
"""What a system passes on to a command."""
OPTION_VALUES = (
    *NUMBERS, *ARGUMENTS, "caf\udce9", "0.1,0.01", "1,2,,", ",", "1-3", "epochs=2", "epochs=",
    "=2", "epochs=9" + "9" * 30, "lr=[1]", "lr=.inf", "milestones=[1,2]", "length=0",
    "length=1e-9", "length=nan", "batch_size=1e99", "mean=[1]", "steps=1", "network=lenet-5",
    "holdout=.9999", "lenet-5", "digits", "gpu", "9m", "1h1h", "99999999999999h", "no.such:thing",
    "os.path:join", "json:loads", "nowhere.py", "a,b", "{}", "&a [*a]",
    "milestones=" + "[" * DEEP, "recipe=x", "clip_at=1", "warmup=-1", "schedule=step", "0.1e",
    "runs", "slurm", "ray", "minutes=5", "gpus=-1", "setup=[a\nb]", "options={a: b}",
    "memory_gb=.inf",
)  # fmt: skip


def options(seed):
    """The words of a command line, of a command that trains nothing."""
    inputs = Inputs(seed)
    words = list(inputs.random.choice([*COMMANDS, *[("plan", "quick")] * len(COMMANDS)]))
    if inputs.random.random() < 0.3:
        words[inputs.random.randrange(1, len(words)) if len(words) > 1 else 0 :] = [
            inputs.random.choice(OPTION_VALUES)
        ]
    for _ in range(inputs.random.randint(0, 3)):
        words += [inputs.random.choice(OPTIONS), inputs.random.choice(OPTION_VALUES)]
    return words


CODE_VALUES = (
    *NUMBERS, *map(repr, TEXTS), "[]", "{}", "[1]", "{[]: 1}", "{**a}", "(1,)", "{1, 2}",
    "lambda: 1", "print(1)", "open('touched', 'w')", "__import__('os')", "1 / 0", "...", "None",
    "f'{1}'", "b'x'", "1j", "*a", "**a", "(" * 150 + "1" + ")" * 150, "[" * DEEP + "]" * DEEP,
    "-" * DEEP + "1", "1" + "+1" * DEEP, "x" + ".x" * DEEP, "'a' * 10**10", "not 1", "Mine",
    "nn.Module", "PruneAtInit", "network", "float", "Literal['a', []]", "Literal[", "list[int]",
    "'int'", "ClassVar[int]", "yield", "\n", "\n    pass", ":", "@", "# a", "\\",
)  # fmt: skip
PLUGIN = '''\
"""A method, a network and a data set."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from pai_bench import PruneAtInit, dataset, network, prunable, register


@register("mine")
class Mine(PruneAtInit):
    """Keep what I like."""

    version = 3
    paper = "my paper"
    needs_data = False
    needs_labels = False
    rounds = 2

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        rate: float = 0.5
        kind: Literal["a", "b"] = "a"
        name: str = "x"
        often: int = 1
        loud: bool = False

    def scores(self, network, batches):
        return {name: weight.detach().abs() for name, weight in prunable(network)}


class Other(Mine):
    version = 2


@register("other")
class More(Other):
    rounds = 1


@network("tiny-net", init="kaiming", dense=["a*"], version=1, macs={"digits": 5})
def build(shape, classes):
    return nn.Linear(64, classes)


@dataset("own", classes=2, shape=[1, 8, 8], images=[9, 3], mean=[0.5], std=[0.25])
def load():
    return None
'''


def plugin(seed):
    """The text of a plugin file."""
    places = (
        r"(?<== )[^\n,()]+|(?<=\()[^\n()]+(?=\))|(?<=: )\w+(?= =)|[\w]+(?==)|\b[A-Z]\w+|\bdef|@"
    )
    return Inputs(seed).spoiled(PLUGIN, places, CODE_VALUES)


JSON_VALUES = (
    None, True, False, 0, -1, 1, 3, 0.5, 10**30, 10**400, 2**63, 1e308, "", "x", "\ud800", "\x00",
    "done", "failed", "<script>alert(1)</script>", "a" * 3000, [], {}, [1], [[1]], {"a": 1},
    [None], ["x"], float("nan"), float("inf"), [10**400], [True], {"": []}, -0.5, 1e-320,
    "0" * 12, [0.5, "x"],
)  # fmt: skip


def record(seed, whole):
    """One to three values of a JSON record replaced, left out, or added to."""
    inputs, content = Inputs(seed), json.loads(json.dumps(whole))
    for _ in range(inputs.random.randint(1, 3)):
        *way, last = inputs.random.choice(list(_places(content)) or [("x",)])
        place = content
        for key in way:
            place = place[key]
        what = inputs.random.random()
        if what < 0.15 and isinstance(place, dict):
            del place[last]
        elif what < 0.25 and isinstance(place, dict):
            place["more"] = inputs.random.choice(JSON_VALUES)
        else:
            place[last] = inputs.random.choice(JSON_VALUES)
    return content


def _places(content, way=()):
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield (*way, key)
            yield from _places(content[key], (*way, key))


def spoil_stored(seed, folder):
    """Spoil one file of a stored cell; half the time its digests say that nothing was altered."""
    inputs = Inputs(seed)
    name = inputs.random.choice(["result.json", "result.json", "cell.json", "curves.json"])
    path, result = folder / name, folder / "result.json"
    if inputs.random.random() < 0.1:
        nested = inputs.random.choice(["[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP])
        path.write_text(inputs.random.choice(["", "null", "[]", "{", "\x00", nested]))
    else:
        path.write_text(json.dumps(record(seed, json.loads(path.read_text()))))
    if inputs.random.random() < 0.7:
        _seal(result, path)


def _seal(result, path):
    """Make the digests fit, where there is anything that they can be made for."""
    try:
        content = json.loads(result.read_text())
        if path != result:
            content["files"][path.name] = sha256(path.read_bytes())
        result.write_text(json.dumps(sealed(content)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return
