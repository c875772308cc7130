"""Lines are told apart in print without colours, and by people who see few of them."""

import itertools

from pai_bench.leaderboard.figures.line_styles import COLOURS, line_styles


def test_twelve_lines_differ_without_colour_and_all_in_all_three_together():
    styles = list(line_styles(map(str, range(364))).values())
    assert len({(s["marker"], str(s["linestyle"])) for s in styles[:12]}) == 12
    assert len({s["marker"] for s in styles[:12]}) == 12
    assert len({tuple(map(str, s.values())) for s in styles}) == 364
    for one, other in itertools.pairwise(styles):
        assert not [key for key in one if one[key] == other[key]]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_can_be_seen_on_white():
    assert min(1.05 / (luminance(colour) + 0.05) for colour in COLOURS) > 2
