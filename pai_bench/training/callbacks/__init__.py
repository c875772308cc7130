"""Callbacks around a method, one job each: masks, learning curves, phase times, progress."""
