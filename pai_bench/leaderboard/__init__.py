"""Results as people read them: terminal, HTML, W&B, tables, figures (imports claims and below)."""
