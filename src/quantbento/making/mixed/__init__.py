"""Mixed precision: layers of a variant get more bits, the most harmful per byte first, until a goal holds."""
