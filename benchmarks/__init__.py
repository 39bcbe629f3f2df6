"""This project and its peers, measured side by side in one run; from the project's root:
`python -m benchmarks.serving`, `python -m benchmarks.llm_service`."""
