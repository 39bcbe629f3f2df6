"""Looks at a model and writes a recipe for it that runs: `draft` is the whole, a module each for its parts."""
