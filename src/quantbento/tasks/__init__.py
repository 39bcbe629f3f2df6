"""What a model is for: how inputs become tensors, how tensors become answers, and how to tell if they are right.

Names follow the Transformers pipeline tasks. A task knows nothing about BentoML, recipes or quantizers.
"""
