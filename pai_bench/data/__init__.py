"""Data sets: sources, decoding, augmentation and batches (imports sparsity and below)."""
