"""`quantbento bench`: stored models over a grid of batch and length, language models by the token, running services."""
