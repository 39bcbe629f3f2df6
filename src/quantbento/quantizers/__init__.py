"""How a model is quantized: a file a method."""
