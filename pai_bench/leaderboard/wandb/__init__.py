"""Weights & Biases: a mirror of the store, and a report of each suite."""
