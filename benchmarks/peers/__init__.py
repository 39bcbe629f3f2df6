"""What people write by hand to serve the same ONNX artifact, for `benchmarks.serving`; nothing of this project."""
