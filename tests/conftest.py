"""What several tests share."""

import os
import site
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from pai_bench.core import portable

portable.choose(threads=1)  # before what reads the choice is loaded

import torch  # noqa: E402

from pai_bench.cli.main import main  # noqa: E402
from pai_bench.config import loader  # noqa: E402
from pai_bench.experiment import grid  # noqa: E402
from pai_bench.registry import methods as registry  # noqa: E402

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)
portable.use()


def pytest_configure(config):
    """Hide GPUs from tests that are not about them: bits are those of a CPU."""
    if "gpu" not in config.option.markexpr.split():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def surroundings(tmp_path_factory, monkeypatch):
    """A cache of the test run, no W&B, logs of one width, nothing of the user's."""
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Run a command of ours in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([*arguments, "--config", str(ROOT / "benchmark.yaml")])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Make an environment with the dependencies of PaI-Bench: environment(*projects, see=folder).

    Projects (folders or wheels) are installed; `see` is a folder to import from. PaI-Bench itself
    is in there only if it is one of these. Nothing is downloaded; returns the path of its python.
    """
    dependencies = tmp_path_factory.mktemp("dependencies")
    for packages in dict.fromkeys([sysconfig.get_path("purelib"), *site.getsitepackages()]):
        for path in Path(packages).iterdir():
            ours = path.name.startswith(("pai_bench", "__editable__")) or path.suffix == ".pth"
            if not ours and not (dependencies / path.name).exists():
                (dependencies / path.name).symlink_to(path)

    def make(*projects, see=None):
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        seen = [dependencies, *([see] if see else [])]
        (packages / "seen.pth").write_text("".join(f"{path}\n" for path in seen))
        if projects:
            how = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--prefix", folder]
            pip = [sys.executable, "-m", "pip", "install", "--ignore-installed", *how, *projects]
            subprocess.run(pip, check=True, capture_output=True, text=True)
        return folder / "bin" / "python"

    return make


@pytest.fixture(scope="session")
def methods():
    """Every method of the shipped project."""
    return registry.available()


@pytest.fixture(scope="session")
def settings(methods):
    """The shipped benchmark.yaml."""
    return loader.load(ROOT / "benchmark.yaml", methods)


@pytest.fixture(scope="session")
def quick(settings, methods):
    """Cells of the quick suite, cut to a few epochs: quick(methods=("snip",), epochs=2)."""

    def make(epochs=2, **selection):
        cells = grid.cells(settings, methods, "quick", grid.Selection(**selection))
        recipe = cells[0].recipe.model_copy(update={"epochs": epochs, "milestones": (1,)})
        return [replace(cell, recipe=recipe) for cell in cells]

    return make


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 300 KiB, or a skip."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def mirror():
    """Folder of a mirror with real MNIST, or a skip."""
    folder = os.environ.get("PAI_BENCH_MIRROR")
    if not folder:
        pytest.skip("PAI_BENCH_MIRROR is not set: no real MNIST here")
    return Path(folder)


@pytest.fixture
def photographs(tmp_path, monkeypatch, settings):
    """Settings with a streamed data set of 13 + 5 photographs of many sizes, in a mirror."""
    import datasets
    import numpy as np
    from PIL import Image as Picture

    from pai_bench.config.schema import Data

    random = np.random.default_rng(0)
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    for split, count in (("train", 13), ("validation", 5)):
        sizes = random.integers(40, 90, (count, 2))
        pictures = [Picture.fromarray(random.integers(0, 256, (*s, 3), np.uint8)) for s in sizes]
        columns = {"image": pictures, "label": [n % 2 for n in range(count)]}
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        table = datasets.Dataset.from_dict(columns, features=kinds)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("PAI_BENCH_MIRROR", str(tmp_path))
    data = Data(
        hub="nobody/photos", revision="0", test="validation", classes=2, shape=(3, 32, 32),
        images=(13, 5), stream=True, mean=(0.5,) * 3, std=(0.25,) * 3,
    )  # fmt: skip
    return settings.model_copy(update={"data": {**settings.data, "photos": data}})
