"""benchmark.yaml as typed, frozen settings (imports core)."""
