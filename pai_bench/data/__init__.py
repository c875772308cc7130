"""Data sets: where their pixels come from, and batches of them (imports sparsity and below)."""
