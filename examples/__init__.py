"""Models the project brings itself, as factories a recipe can name; and demos, which run from the project's root:
`python -m examples.demo`, `python -m examples.demo_llm`, `python -m examples.container`."""
