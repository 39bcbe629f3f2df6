"""A language model in the store, without a pipeline. Not in tiny_llama.py: its tokenizer is trained on that file."""

from __future__ import annotations

import json
from pathlib import Path

from quantbento import store
from quantbento.runtimes import artifact


def store_llama(name: str, folder: Path, runtime: str, **runtime_config: object) -> None:
    """Stores a checkpoint for a runtime, prompts without the chat template."""
    description = {
        "schema_version": 1,
        "task": "text-generation",
        "task_config": {"chat_template": False},
        "runtime": runtime,
        "runtime_config": runtime_config,
    }
    (folder / artifact.DESCRIPTION).write_text(json.dumps(description))
    store.save(name, folder, {}, {}, {})
