"""benchmark.yaml: what ships is valid, and each mistake is one line that says where and what."""

from pathlib import Path

import pytest

from pai_bench.config import loader
from pai_bench.core.errors import BenchError
from pai_bench.registry import methods as registry

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "benchmark.yaml"
FILES = {
    path.relative_to(ROOT): path.read_text()
    for path in (SHIPPED, *sorted(ROOT.glob("reproductions/*/suites.yaml")))
}
TEXT = SHIPPED.read_text()
METHODS = registry.available()
DENSITIES = "    densities: [0.5, 0.2, 0.1, 0.05, 0.02, 0.01]\n"
LISTED = """methods:
      [dense, random, random: {scope: local}, random: {scope: erk}, magnitude, snip,
       iterative-snip, force, grasp, synflow, imp, ntk-sap]"""


def load(path):
    return loader.load(path, METHODS)


def edit(folder, old, new):
    """Write the shipped files, the first `old` made `new`; return path and line of the edit."""
    edited = next((name for name, text in FILES.items() if old in text), None)
    assert edited, "the shipped files no longer hold what this test edits"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace(old, new, 1) if name == edited else text)
    return folder / edited, FILES[edited][: FILES[edited].index(old)].count("\n") + 1


def complaint(path):
    """Return the error of loading what is or includes `path`: line number, key and message."""
    above = next(folder for folder in path.parents if (folder / "benchmark.yaml").is_file())
    with pytest.raises(BenchError) as caught:
        load(above / "benchmark.yaml")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}:")
    line, _, rest = text[len(f"{path}:") :].partition(": ")
    key, _, message = rest.partition(": ")
    return int(line), key, message


def test_the_shipped_file_is_valid():
    settings = load(SHIPPED)
    assert settings.suites["quick"].densities == (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    assert settings.suites["quick"].methods[2] == {"random": {"scope": "local"}}
    assert settings.data["cifar10"].shape == (3, 32, 32)
    assert settings.papers["ntk-sap"].suites["quick"] == "quick"


def test_a_number_with_exponent_and_no_point_is_a_number():
    assert load(SHIPPED).recipes["digits-20"].weight_decay == 1e-4


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "1.e-4", "+1e-4", ".1e-3", "0.0001"])
def test_every_spelling_of_a_number_is_read(tmp_path, written):
    path, _ = edit(tmp_path, "weight_decay: 1e-4", f"weight_decay: {written}")
    assert load(path).recipes["digits-20"].weight_decay == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[010]", 'input should be a valid integer, got "010"'),
        ("[1:30]", 'input should be a valid integer, got "1:30"'),
        ("[-1]", "input should be greater than or equal to 0, got -1"),
        ("[99999999999999999999]", "input should be less than"),
    ],
)
def test_seeds_that_are_no_seeds_are_refused(tmp_path, written, says):
    path, line = edit(tmp_path, "    seeds: [1, 2, 3]", f"    seeds: {written}")
    assert complaint(path)[0] == line
    assert says in complaint(path)[2]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999"])
def test_numbers_without_end_are_refused(tmp_path, value):
    path, line = edit(tmp_path, "weight_decay: 1e-4", f"weight_decay: {value}")
    assert complaint(path)[0] == line


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load(SHIPPED).recipes["digits-20"].lr = 1.0


# old text, new text, key in the message, parts of the message
ON_THE_LINE = {
    "unknown key at the top": (
        "threads: 1",
        "thread: 1",
        "thread",
        ["unknown key", 'did you mean "threads"?'],
    ),
    "unknown key with nothing near": (
        "threads: 1",
        "zzz: 1",
        "zzz",
        ["unknown key", "known: campaigns, data, deterministic, graphs, include, launchers, "],
    ),
    "unknown optional key": (
        "    momentum: 0.9",
        "    momentun: 0.9",
        "recipes.digits-20.momentun",
        ["unknown key", 'did you mean "momentum"?'],
    ),
    "misspelt required key": (
        "    densities: [0.5",
        "    densitys: [0.5",
        "suites.quick.densitys",
        ["unknown key", 'did you mean "densities"?'],
    ),
    "text for a number": (
        "epochs: 20",
        "epochs: twenty",
        "recipes.digits-20.epochs",
        ["integer", '"twenty"'],
    ),
    "fraction for an integer": (
        "epochs: 20",
        "epochs: 20.5",
        "recipes.digits-20.epochs",
        ["integer", "20.5"],
    ),
    "truth for a number": ("epochs: 20", "epochs: true", "recipes.digits-20.epochs", ["integer"]),
    "quoted number": ("threads: 1", 'threads: "1"', "threads", ["integer", '"1"']),
    "none of the choices": (
        "schedule: step",
        "schedule: stepp",
        "recipes.digits-20.schedule",
        ["'step'", "'cosine'", '"stepp"'],
    ),
    "unknown method": (
        "magnitude, snip,",
        "magnitude, snpi,",
        "suites.quick.methods.5",
        ['unknown method "snpi"', 'did you mean "snip"?'],
    ),
    "unknown hyper-parameter": (
        "{scope: local}",
        "{scop: local}",
        "suites.quick.methods.2",
        ['random has no hyper-parameter "scop"', 'did you mean "scope"?'],
    ),
    "hyper-parameter of the wrong type": (
        "{scope: local}",
        "{rounds: 1.5}",
        "suites.quick.methods.2",
        ["rounds must be int", "1.5"],
    ),
    "hyper-parameter that is no choice": (
        "{scope: local}",
        "{scope: lokal}",
        "suites.quick.methods.2",
        ["'global', 'local'", "'lokal'"],
    ),
    "density 0": ("[0.5, 0.2", "[0, 0.2", "suites.quick.densities.0", ["greater than 0"]),
    "density above 1": ("[0.5, 0.2", "[0.5, 1.5", "suites.quick.densities.1", ["1.5"]),
    "negative density": ("[0.5, 0.2", "[-1, 0.2", "suites.quick.densities.0", ["-1"]),
    "density that is no number": ("[0.5, 0.2", "[.nan, 0.2", "suites.quick.densities.0", ["NaN"]),
    "no densities": (DENSITIES, "    densities: []\n", "suites.quick.densities", ["at least 1"]),
    "nothing for densities": (DENSITIES, "    densities:\n", "suites.quick.densities", ["null"]),
    "no seeds": ("seeds: [1, 2, 3]", "seeds: []", "suites.quick.seeds", ["at least 1"]),
    "no methods": (LISTED, "methods: []", "suites.quick.methods", ["at least 1"]),
    "unknown network": (
        "network: lenet-300-100",
        "network: lenet-300",
        "suites.quick.network",
        ['unknown network "lenet-300"', 'did you mean "lenet-300-100"?'],
    ),
    "unknown data set": (
        "    data: digits",
        "    data: digit",
        "suites.quick.data",
        ['unknown data set "digit"', 'did you mean "digits"?'],
    ),
    "unknown recipe": (
        "recipe: digits-20",
        "recipe: digits-2",
        "suites.quick.recipe",
        ['unknown recipe "digits-2"', 'did you mean "digits-20"?'],
    ),
    "paper with an unknown method": (
        "methods: [ntk-sap]",
        "methods: [ntk-sup]",
        "papers.ntk-sap.methods.0",
        ['unknown method "ntk-sup"', 'did you mean "ntk-sap"?'],
    ),
    "paper with an unknown suite": (
        "quick: quick\n",
        "quick: quik\n",
        "papers.ntk-sap.suites.quick",
        ['unknown suite "quik"', 'did you mean "quick"?'],
    ),
    "paper whose protocol is none of its suites": (
        "protocol: cifar10\n",
        "protocol: cifar\n",
        "papers.ntk-sap.protocol",
        ['"cifar"', 'did you mean "cifar10"?'],
    ),
    "paper without a quick suite": (
        "suites:\n      quick: quick\n",
        "suites:\n      other: quick\n",
        "papers.ntk-sap.suites",
        ['"quick"'],
    ),
    "digest that is none": ("a84fd4877", "A84fd4877", "data.digits.digest", ["pattern"]),
    "not YAML": ("    lr: 0.1", "\tlr: 0.1", "not valid YAML", ["not with tabs"]),
}


@pytest.mark.parametrize(
    ("old", "new", "key", "part"),
    [
        ("    mean: [0.0192]\n", "", "data.digits", "images need mean and std"),
        ("[1, 1, 512]", "[1, 2, 256]", "data.wikitext-103", "text has shape [1, 1,"),
        ("    clip_at: 10.0\n", "", "recipes.rigl-wikitext", "clip and clip_at go together"),
    ],
)
def test_keys_that_do_not_fit_together_are_named_with_what_holds_them(
    tmp_path, old, new, key, part
):
    path, _ = edit(tmp_path, old, new)
    text = path.read_text()
    line = text[: text.index(f"\n  {key.partition('.')[2]}:")].count("\n") + 2
    assert complaint(path)[:2] == (line, key)
    assert part in complaint(path)[2]


@pytest.mark.parametrize("case", ON_THE_LINE)
def test_a_mistake_is_one_line_with_file_line_key_and_hint(tmp_path, case):
    old, new, key, parts = ON_THE_LINE[case]
    path, line = edit(tmp_path, old, new)
    assert complaint(path)[:2] == (line, key)
    assert [part for part in parts if part not in complaint(path)[2]] == []


def test_a_key_given_twice_names_the_second(tmp_path):
    path, line = edit(tmp_path, "    epochs: 20\n", "    epochs: 20\n    epochs: 30\n")
    assert complaint(path)[:2] == (line + 1, "recipes.digits-20.epochs")
    assert "twice" in complaint(path)[2]


def test_a_suite_given_twice_is_not_silently_replaced(tmp_path):
    path, line = edit(tmp_path, "  mnist:\n    about", "  quick:\n    about")
    assert complaint(path)[:2] == (line, "suites.quick")


def test_a_missing_key_is_named_where_it_should_stand(tmp_path):
    path, _ = edit(tmp_path, "    recipe: digits-20\n", "")
    suite = TEXT[: TEXT.index("  quick:\n")].count("\n") + 1
    assert complaint(path) == (suite, "suites.quick", '"recipe" is missing')


def test_the_number_of_further_mistakes_is_told(tmp_path):
    path, line = edit(tmp_path, "[0.5, 0.2", "[0, 2")
    assert complaint(path)[0] == line
    assert complaint(path)[2].endswith("(and 1 more)")


@pytest.mark.parametrize("content", ["", "# a comment\n", "---\n", "[]\n", "3\n", "text\n"])
def test_a_file_with_nothing_in_it_is_said_to_be_so(tmp_path, content):
    path = tmp_path / "benchmark.yaml"
    path.write_text(content)
    with pytest.raises(BenchError, match=r"benchmark\.yaml:1: .+"):
        load(path)


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "nowhere.yaml"
    with pytest.raises(BenchError, match=r"nowhere\.yaml: cannot be read .* --config"):
        load(path)


@pytest.mark.parametrize("value", ["2020-01-01", "!!set {a}", "!!binary aGVsbG8=", "*nothing"])
def test_values_that_yaml_knows_and_settings_do_not_are_errors(tmp_path, value):
    path, line = edit(tmp_path, "threads: 1", f"threads: {value}")
    assert complaint(path)[0] == line


@pytest.mark.parametrize("content", [b"threads: \x01\n", b"threads: \xff\n"])
def test_bytes_that_are_no_text_are_an_error(tmp_path, content):
    path = tmp_path / "benchmark.yaml"
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"^[^\n]*benchmark\.yaml[^\n]*$"):
        load(path)


def test_costs_given_for_an_unknown_data_set_are_an_error(tmp_path):
    path, line = edit(tmp_path, "{digits: 50200,", "{digit: 50200,")
    assert complaint(path)[0] == line
    assert 'did you mean "digits"?' in complaint(path)[2]
