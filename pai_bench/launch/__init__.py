"""Launchers of training processes, and the run of a suite (imports methods and below)."""
