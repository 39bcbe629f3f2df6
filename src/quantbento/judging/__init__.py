"""What a variant is worth: full-precision references, metrics, speed, memory, gates; and the report of it."""
