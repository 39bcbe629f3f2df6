"""The command line: arguments in, exit codes out. One file per group of commands."""

from quantbento.cli.entry import main, save_models

__all__ = ["main", "save_models"]
