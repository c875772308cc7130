"""Masks: how they are held, chosen, scored and accounted for."""
