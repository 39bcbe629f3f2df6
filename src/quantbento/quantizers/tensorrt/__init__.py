"""INT8, FP8 and FP16 for TensorRT, by NVIDIA's Model Optimizer in an isolated environment."""
