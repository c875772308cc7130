"""The field's baselines, one file each."""
