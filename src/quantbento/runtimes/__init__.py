"""One file an engine: it loads an artifact folder and runs batches. Knows nothing of BentoML or recipes."""
