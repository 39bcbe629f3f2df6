"""Variants that are made, checked and stored here, and judged on another machine: no runtime loads them."""
