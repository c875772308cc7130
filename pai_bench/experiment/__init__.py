"""What is to be run: cells, their grid, what they cost (imports networks and below)."""
