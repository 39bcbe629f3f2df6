"""How a model is quantized: one file per method."""
