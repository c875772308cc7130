"""Base classes of methods, and their conformance suite (imports training and below)."""
