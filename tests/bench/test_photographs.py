"""The measurement of photographs runs with and without a mirror."""

import io

from PIL import Image
from rich.console import Console

from pai_bench.bench import interleaved, photographs


def test_speeds_are_measured_on_synthetic_photographs_without_a_mirror(settings, monkeypatch):
    monkeypatch.delenv("PAI_BENCH_MIRROR", raising=False)
    monkeypatch.setattr(photographs, "SYNTHETIC", 3)
    monkeypatch.setattr(interleaved.take, "__defaults__", (1,))
    console = Console(file=io.StringIO(), width=150)
    photographs.measure_photographs(console, settings)
    lines = console.file.getvalue().splitlines()
    assert "3 photographs, made of noise: no mirror holds ImageNet" in lines[0]
    for name in ("training", "evaluation"):
        (row,) = (line.split("│") for line in lines if name in line)
        assert all(float(figure) >= 0 for figure in row[2:-1])
        assert float(row[-2]) < 0.5  # levels


def test_synthetic_photographs_are_like_those_of_imagenet():
    one, other = photographs._synthetic(0), photographs._synthetic(1)
    assert one != other
    assert 60_000 < len(one) < 250_000
    assert Image.open(io.BytesIO(one)).size == (500, 375)
