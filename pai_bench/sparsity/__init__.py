"""Masks: held, chosen, scored, accounted for (imports registry and below)."""
