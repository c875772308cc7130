"""No Python."""

def broken(:
