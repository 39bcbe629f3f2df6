"""For PyTorch modules."""
