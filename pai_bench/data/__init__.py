"""Data sets: where their pixels come from, and how batches are made of them."""
