"""Results, search cache and index, in folders (imports experiment and below)."""
