"""Cells trained: the module, its callbacks, the Trainer (imports store and below)."""
