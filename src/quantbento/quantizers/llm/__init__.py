"""For checkpoints of causal language models."""
