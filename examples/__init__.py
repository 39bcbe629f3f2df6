"""Models the project brings itself, as factories a recipe can name."""
