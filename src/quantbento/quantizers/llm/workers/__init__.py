"""Scripts that `quantbento.core.isolated.run` starts in a separate process."""

from pathlib import Path

AUTOROUND = Path(__file__).with_name("autoround.py")
STREAMING = Path(__file__).with_name("streaming.py")
LLM_COMPRESSOR = Path(__file__).with_name("llm_compressor.py")
# The worker reads the progress bars and log messages of this version; another one may word them differently.
LLM_COMPRESSOR_REQUIREMENTS = ("llmcompressor==0.14.0.1", "torch>=2.13,<2.14")
