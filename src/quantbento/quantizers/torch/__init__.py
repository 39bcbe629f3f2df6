"""Quantizers for PyTorch modules."""
