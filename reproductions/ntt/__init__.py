"""Neural Tangent Transfer (ICML 2020)."""
