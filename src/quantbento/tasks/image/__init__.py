"""Images as a model takes them: decoded within limits, and prepared as the model's own processor says."""
