"""DessiLBI (ICML 2020)."""
