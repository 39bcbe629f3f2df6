"""What quantizing each layer of a model alone costs: `quantbento sensitivity`."""
