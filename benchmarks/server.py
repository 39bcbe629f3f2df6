"""Moved to `examples.server`; here until nothing imports it from here."""

from examples.server import bento, serve

__all__ = ["bento", "serve"]
