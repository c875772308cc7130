"""PaI-Bench: a reproducibility benchmark for papers that train sparse neural networks."""
