"""The colour of each method: the same in every suite and on every page."""

from __future__ import annotations

COLORS = (
    ("ntk-sap", "gradual", "dessilbi-filters"),
    ("synflow", "set", "dessilbi", "rigl-restart"),
    ("snip", "proximal"),
    ("imp", "ntt", "snfs"),
    ("grasp", "rigl", "slimming"),
    ("force", "logit-snip", "small-dense", "proximal-filters"),
    ("iterative-snip", "magnitude", "dessilbi-dense"),
    ("random", "scaled-random", "random-filters"),
)
"""Methods by the number of their colour. Those that share one seldom share a suite; where they do,
markers and dashes tell them apart. Other methods get a colour by their name. Without colour: dense.
"""
