"""Finds and reads what a recipe names: the source model, the samples, and the job that quantizers get."""
