"""Scripts that `isolated.run` starts in a separate process. They must not import quantbento: it may be missing there.

A worker gets the path of a JSON file with its job, and writes JSON to stdout, one object per line:

    {"stage": "gptq", "done": 1, "total": 32}    any number of times
    {"result": {...}} or {"error": "..."}         once, at the end

Other lines are ignored. When its stdin ends, its parent is gone, and it should end too.
"""

from pathlib import Path

AUTOROUND = Path(__file__).with_name("autoround.py")
LLM_COMPRESSOR = Path(__file__).with_name("llm_compressor.py")
# The worker reads the progress bars and log messages of this version; another one may word them differently.
LLM_COMPRESSOR_REQUIREMENTS = ("llmcompressor==0.14.0.1", "torch>=2.13,<2.14")
