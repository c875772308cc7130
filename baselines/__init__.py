"""Baseline methods, one file each."""
