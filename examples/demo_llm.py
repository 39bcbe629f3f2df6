"""`make demo-llm`: a language model from a recipe to a served INT4 one.

1. train the project's own small Llama, or take the one trained before (examples/tiny_llama.py)
2. quantize it in five ways, judge each in its serving runtime and store those that pass (configs/tiny-llama.yaml)
3. serve the INT4 one with the lowest perplexity by vLLM in BentoML, as `bentoml serve service:TextGeneration` does
4. stream a completion with OpenAI's client
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import openai

from examples.server import bento, serve

RECIPE = "configs/tiny-llama.yaml"
REPORT = Path("reports/tiny-llama/report.json")
PROMPT = "def __init__(self, "


def main() -> int:
    saved = subprocess.run([sys.executable, "save_models.py", RECIPE]).returncode
    if saved != 0:
        return saved
    variants = json.loads(REPORT.read_text(encoding="utf-8"))["variants"]
    int4 = [v for v in variants if v["scheme"] == "W4A16" and v["tag"]]
    tag = min(int4, key=lambda v: v["metrics"]["perplexity"])["tag"]
    print(f"\n$ bentoml serve service:TextGeneration --arg model={tag}", flush=True)
    with (
        tempfile.TemporaryDirectory() as logs,
        serve(bento("service:TextGeneration"), {"QUANTBENTO_MODEL": tag}, Path(logs) / "server.log", 300) as server,
    ):
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
        print(PROMPT, end="", flush=True)
        for chunk in client.completions.create(model=tag, prompt=PROMPT, max_tokens=64, temperature=0, stream=True):
            print(chunk.choices[0].text, end="", flush=True)
    print("\n\nYour own model: copy configs/qwen3-0.6b.yaml, then: .venv/bin/python save_models.py configs/yours.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
