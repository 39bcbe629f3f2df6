"""Quantizers for ONNX graphs."""
