"""Results as people read them: terminal, HTML, W&B, tables (imports claims and below)."""
