"""The commands of `quantbento`, a file a group: arguments in, exit code out. What they do is elsewhere."""
