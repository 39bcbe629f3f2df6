"""Judges a variant: full-precision references, metrics, speed, memory, gates, and the report on them."""
