"""The claims of the papers are read as printed; a file that is wrong says where."""

import re
from collections import Counter
from pathlib import Path

import pytest

from pai_bench.claims import parser
from pai_bench.core.errors import BenchError

ROOT = Path(__file__).parents[2]
KNOWN = parser.available()
EXAMPLE = """
paper: some
authors: [Ann One]
year: 2020
sources:
  table: {what: Table 1}
  figure: {what: figure 1, reading: digitised, precision: 0.1, rough: 0.2}
suites:
  quick: {deviations: [another recipe], lines: {Magnitude: {magnitude: {scope: local}}}}
  other: {deviations: []}
lines: {SNIP: snip, Magnitude: magnitude, Long: {ntk-sap: {rounds: 100}}}
not_ours: {DSR: not a method here}
tables:
  one:
    about: accuracy
    source: figure
    suite: quick
    n: 3
    densities: 0.5 0.1
    rows:
      SNIP: 91.360±0.41 ~87.4
      Magnitude: <75 .
      DSR: 90,92 1
  two:
    about: size
    source: table
    metric: other
    quantity: MB
    why: not measured
    columns: small large
    rows: {any: .20 57.30}
orderings:
  by-step:
    about: above
    source: table
    suite: quick
    metric: accuracy-after
    columns: 101 501
    density: "0.1"
    above: SNIP
    below: [Magnitude]
  three:
    about: above
    source: table
    suite: quick
    densities: 0.5 0.1
    elsewhere: {Magnitude: other}
    above: SNIP
    below: [Magnitude, DSR]
statements:
  four: {kind: ordering, text: faster, source: table, why: speed is not measured}
"""


@pytest.fixture
def read(tmp_path):
    """Reads the example with some text replaced."""

    def load(old="", new=""):
        assert old in EXAMPLE
        path = tmp_path / "parser.yaml"
        path.write_text(EXAMPLE.replace(old, new, 1))
        return {claim.id: claim for claim in parser.load(path).claims}

    return load


def test_every_value_and_every_pair_is_a_claim(read):
    found = read()
    assert list(found) == [
        "one/SNIP/0.5", "one/SNIP/0.1", "one/Magnitude/0.5", "one/DSR/0.5", "one/DSR/0.1",
        "two/any/small", "two/any/large",
        "by-step/SNIP/Magnitude/101", "by-step/SNIP/Magnitude/501",
        "three/SNIP/Magnitude/0.5", "three/SNIP/Magnitude/0.1",
        "three/SNIP/DSR/0.5", "three/SNIP/DSR/0.1", "four",
    ]  # fmt: skip
    assert found["three/SNIP/Magnitude/0.5"].against == "magnitude"
    assert found["one/Magnitude/0.5"].method == {"magnitude": {"scope": "local"}}
    ordered = found["three/SNIP/Magnitude/0.5"]
    assert (ordered.suite, ordered.against_suite) == ("quick", "other")
    assert found["three/SNIP/DSR/0.5"].untestable == "not a method here"
    assert found["four"].untestable == "speed is not measured"
    after = found["by-step/SNIP/Magnitude/501"]
    assert (after.column, after.density, after.kind) == ("501", 0.1, "ordering")


def test_values_keep_their_digits_their_spread_and_how_exactly_they_are_known(read):
    found = {name: claim.value for name, claim in read().items()}
    value = found["one/SNIP/0.5"]
    assert (value.text, value.value, value.spread, value.n) == ("91.360±0.41", 91.36, 0.41, 3)
    assert value.precision == 0.1
    assert found["one/SNIP/0.1"].precision == 0.2
    assert found["one/Magnitude/0.5"].side == "<"
    runs = found["one/DSR/0.5"]
    assert (runs.value, runs.spread, runs.n) == (91, pytest.approx(2**0.5), 2)
    assert found["two/any/small"].precision == pytest.approx(0.005)
    assert found["two/any/large"].text == "57.30"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("year: 2020", "yaer: 2020", ':4: yaer: unknown key; did you mean "year"?'),
        ("    n: 3", "    m: 3", "tables.one.m: unknown key"),
        ("source: figure\n", "source: figur\n", 'tables.one.source: unknown source "figur"; did'),
        ("suite: quick", "suite: quik", 'suite "quik" is not under suites, with its deviations'),
        ("elsewhere: {Magnitude: other}", "elsewhere: {Magnitude: ohter}", 'did you mean "other"'),
        ("      SNIP: 91", "      SNPI: 91", '"SNPI" is neither under lines nor under not_ours'),
        ("<75 .", "<75", "tables.one.rows.Magnitude: 1 values for 2 columns"),
        ("~87.4", "87.4a", 'not a value as 91.36±0.41, 1.2,1.3, ~87.4, <75, >90 or .: "87.4a"'),
        ("densities: 0.5 0.1", "densities: 0.5 10", "not a density above 0, at most 1: 10"),
        ("columns: small large", "", "needs either densities or columns"),
        ("columns: 101 501", "", "orderings.by-step: needs either densities or columns"),
        (
            "columns: small large",
            "columns: small large\n    density: '0.1'",
            "a suite tests columns that are no densities at one `density`",
        ),
        ("    why: not measured\n", "", "name the suite that tests it, or say why there is none"),
        ("    quantity: MB\n", "", "metric other needs a quantity"),
        ("below: [Magnitude, DSR]", "below: [Magnitud]", 'did you mean "Magnitude"?'),
        ("kind: ordering", "kind: order", "statements.four.kind: input should be 'absolute'"),
        ("SNIP: snip", "SNIP: {snip: {}, random: {}}", "stands for 2 methods: write one"),
        ("paper: some\n", "", '"paper" is missing'),
    ],
)
def test_a_wrong_file_says_file_line_and_key(read, old, new, says):
    with pytest.raises(BenchError) as error:
        read(old, new)
    assert says in str(error.value)
    assert re.match(r"\S+parser.yaml:\d+: ", str(error.value))
    assert "\n" not in str(error.value)


def test_a_paper_without_claims_is_one_line():
    with pytest.raises(BenchError, match='unknown paper with claims "rigel"; did you mean "rigl"'):
        parser.of_papers("rigel")
    assert {c.content.paper for c in parser.of_papers(None)} == set(KNOWN)


@pytest.mark.parametrize("paper", KNOWN)
def test_claims_are_told_apart_and_say_what_is_missing(paper):
    found = KNOWN[paper]
    repeated = [name for name, count in Counter(c.id for c in found.claims).items() if count > 1]
    assert repeated == []
    assert found.content.missing
    assert found.folder.name == paper.replace("-", "_")


@pytest.mark.parametrize("paper", KNOWN)
def test_every_source_is_used(paper):
    content = KNOWN[paper].content
    blocks = [*content.tables.values(), *content.orderings.values(), *content.statements.values()]
    assert set(content.sources) == {block.source for block in blocks}


def test_an_ordering_holds_in_the_numbers_that_it_is_read_from():
    """What is claimed of an order is in the print, by more than the error of reading it."""
    checked = 0
    for found in KNOWN.values():
        printed = [
            c for c in found.claims
            if c.kind == "absolute" and c.suite and c.source.by != "replication"
            and c.epoch == "last" and "readme" not in c.block
        ]  # fmt: skip
        exact_last = sorted(printed, key=lambda c: not c.value.side)
        values = {(c.suite, c.printed_name, c.at): c.value for c in exact_last}
        orderings = (c for c in found.claims if c.kind == "ordering" and c.suite)
        for claim in (c for c in orderings if not c.of_untrained):
            ours = values[claim.suite, claim.printed_name, claim.at]
            theirs = values[claim.against_suite, claim.against_name, claim.at]
            gap = ours.value - theirs.value
            assert gap > (0 if theirs.side else theirs.precision), claim.id
            checked += 1
    assert checked > 100


@pytest.mark.parametrize(
    ("paper", "name", "text"),
    [
        ("ntk-sap", "imagenet-resnet-50/NTK-SAP/0.04398046511104", "60.79"),
        ("ntk-sap", "cifar10-epsilon/NTK-SAP/0.018014398509481984", "77.66±0.50"),
        ("rigl", "imagenet/RigL (ERK)/0.1", "73.0±.04"),
        ("rigl", "cifar10/RigL (ERK)/0.05", "91.8"),
        ("rigl", "mnist-final/RigL/0.024876", "1.48"),
        ("ntt", "mnist-mlp/Random/0.03", "93.78,93.15"),
        ("dessilbi", "checkpoint/DessiLBI/projected", "98.62"),
    ],
)
def test_well_known_numbers_are_there(paper, name, text):
    assert {c.id: c.claimed for c in KNOWN[paper].claims}[name] == text


@pytest.mark.parametrize("allowance", [
    "{SNIP: .035}", "{SNIP: .035 2}", "{SNIP: .035 x}", "{Other: . .}", "{SNIP: '1 .'}",
])  # fmt: skip
def test_an_allowance_has_a_part_for_each_column(allowance, tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(
        "paper: some\nauthors: [Ann One]\nyear: 2020\nsources: {t: {what: Table 1}}\n"
        "suites: {quick: {deviations: []}}\nlines: {SNIP: snip}\ntables:\n"
        "  flops: {about: FLOPs, source: t, suite: quick, metric: inference-flops,\n"
        f"          densities: 0.5 0.1, allowance: {allowance}, rows: {{SNIP: .5 .1}}}}\n"
    )
    with pytest.raises(BenchError, match="allowance: a part as"):
        parser.load(path)
    path.write_text(path.read_text().replace(allowance, "{SNIP: . .035}"))
    assert [claim.allowance for claim in parser.load(path).claims] == [0.0, 0.035]
