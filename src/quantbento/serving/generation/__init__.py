"""Services that generate text: their requests, limits and engines."""
