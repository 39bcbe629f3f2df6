"""Quantizers for checkpoints of causal language models."""
