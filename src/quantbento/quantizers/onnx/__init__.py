"""For ONNX graphs."""
