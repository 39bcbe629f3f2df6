"""What every room stands on: errors, the registry, the machine, progress, files. Imports no other room."""
