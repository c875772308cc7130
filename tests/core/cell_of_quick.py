"""Train one cell of the suite quick, dense and of seed 1, by native kernels; print a digest.

python cell_of_quick.py FOLDER
"""

import hashlib
import sys
from pathlib import Path

import torch

from pai_bench.config import loader
from pai_bench.core.hardware import Hardware
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import bundles
from pai_bench.launch.request import RunRequest
from pai_bench.launch.run_bundle import run_bundle
from pai_bench.registry import methods as registry

SETTINGS = Path(__file__).parents[2] / "benchmark.yaml"


def main(runs):
    torch.set_num_threads(1)
    methods, cpu = registry.available(), Hardware("cpu", "1")
    settings = loader.load(SETTINGS, methods).model_copy(update={"portable": False})
    (cell,) = grid.cells(settings, methods, "quick", grid.Selection(("dense",), seeds=(1,)))
    (bundle,) = bundles([cell])
    request = RunRequest("quick", (bundle,), settings, runs, cpu, ())
    run_bundle(request, bundle, cpu, lambda event: None)
    curves = runs / "quick" / cell.id / "curves.json"
    print("curves", hashlib.sha256(curves.read_bytes()).hexdigest()[:16])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
