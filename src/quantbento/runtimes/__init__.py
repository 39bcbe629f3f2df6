"""One file per engine: it loads an artifact folder and runs batches. Knows nothing about BentoML or recipes."""
