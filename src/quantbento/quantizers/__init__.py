"""One file a method. Each writes a model into an artifact folder and counts what it quantized."""
