"""Figures for papers and notebooks, a module per kind; matplotlib is imported to draw one."""
