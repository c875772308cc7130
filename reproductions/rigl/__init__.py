"""RigL (ICML 2020)."""
