"""Masks: selection from scores, layer densities, costs, compaction (imports registry and below)."""
