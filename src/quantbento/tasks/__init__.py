"""What a model is for: how inputs become tensors, tensors become answers, and what tells if they are right.

Names follow the Transformers pipeline tasks. A task knows nothing of BentoML, recipes or quantizers.
"""
