"""Requests that run together: a queue that shares the model fairly, and what runs it.

BentoML's own dispatcher computes what clients no longer wait for, fails a whole batch for one item and refuses late.
"""
