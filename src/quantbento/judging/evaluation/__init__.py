"""Kinds of evaluation: what is resampled, and how well a variant does on it."""
