"""INT8 for LiteRT, by litert-torch and AI Edge Quantizer in an isolated environment."""
