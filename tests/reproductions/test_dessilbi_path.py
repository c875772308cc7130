"""What is shown of a stored search is what it holds."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from pai_bench.core.errors import BenchError
from pai_bench.reproductions.dessilbi import path
from pai_bench.reproductions.dessilbi.search import packed


@pytest.fixture
def state():
    """Two epochs of a conv with three filters and of a linear layer."""
    first, second = torch.zeros(3, 2, 1, 1), torch.zeros(3, 2, 1, 1)
    first[1] = second[1] = 1
    second[2, 0] = 1
    linear = torch.tensor([[True, False], [True, True]])
    return {
        "dual": {"conv.weight": first, "fc.weight": torch.zeros(2, 2)},
        "supports": [
            {"conv.weight": packed(first != 0), "fc.weight": packed(~linear)},
            {"conv.weight": packed(second != 0), "fc.weight": packed(linear)},
        ],
        "norms": {
            "conv.weight": torch.tensor([[1.0, 1.0, 2.0], [0.5, 2.0, 1.0], [0.0, 4.0, 1.0]]),
            "fc.weight": torch.ones(3, 2),
        },
    }


@pytest.fixture
def file(state, tmp_path):
    torch.save({"state": state, "flops": 1.0, "seconds": 1.0}, tmp_path / "found.pt")
    return tmp_path / "found.pt"


def test_units_are_filters_of_convolutions_and_weights_of_linear_layers(state, file, capsys):
    assert path.selected(state) == [
        {"conv.weight": (1, 3), "fc.weight": (1, 4)},
        {"conv.weight": (2, 3), "fc.weight": (3, 4)},
    ]
    assert path.main([str(file)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["epoch", "conv", "of", "3", "fc", "of", "4"],
        ["0", "1", "1"],
        ["1", "2", "3"],
    ]


def test_a_picture_has_a_line_per_filter_in_colour_if_selected(file, tmp_path):
    assert path.main([str(file), "--layer", "conv", "--svg", str(tmp_path / "path.svg")]) == 0
    drawn = ElementTree.parse(tmp_path / "path.svg")
    lines = [e for e in drawn.iter() if e.tag.endswith("polyline")]
    assert [line.get("stroke") for line in lines] == [path.OTHERS, path.SELECTED, path.SELECTED]
    points = [tuple(map(float, p.split(","))) for p in lines[1].get("points").split()]
    assert [x for x, _ in points] == [path.MARGIN, path.WIDTH / 2, path.WIDTH - path.MARGIN]
    heights = [path.HEIGHT - path.MARGIN - y for _, y in points]
    assert heights == pytest.approx([76, 152, 304])
    assert re.search("conv: 2 of 3 selected", (tmp_path / "path.svg").read_text())


def test_mistakes_are_one_line(state, file, tmp_path, capsys):
    with pytest.raises(BenchError, match='unknown layer "con"; did you mean "conv"'):
        path.picture(state, "con")
    assert path.main([str(tmp_path / "none.pt")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        path.main([str(file), "--layer", "conv"])
