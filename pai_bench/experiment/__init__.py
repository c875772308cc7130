"""Cells, their grid, bundles of them, and cost estimates (imports networks and below)."""
