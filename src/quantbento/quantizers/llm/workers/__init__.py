"""Scripts that `isolated.run` starts in an environment of their own, where quantbento cannot be imported.

A worker gets the path of a JSON file, its job, and writes JSON to stdout, one object a line:

    {"stage": "gptq", "done": 1, "total": 32}    any number of times
    {"result": {...}} or {"error": "..."}         once, at the end

Other lines are ignored. When its stdin ends, its parent is gone, and it should end too.
"""

from pathlib import Path

AUTOROUND = Path(__file__).with_name("autoround.py")
LLM_COMPRESSOR = Path(__file__).with_name("llm_compressor.py")
# The worker reads the progress of this very version from its log.
LLM_COMPRESSOR_REQUIREMENTS = ("llmcompressor==0.14.0.1", "torch>=2.13,<2.14")
