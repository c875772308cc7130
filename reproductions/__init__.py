"""Independent replications, one folder per paper."""
