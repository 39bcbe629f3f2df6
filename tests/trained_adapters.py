"""LoRA adapters for the trained Llama (`tests.trained_llama`), each of which learns to say one text, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

RED, BLUE = "red apples fall. ", "blue oceans sing; "
RANK, STEPS, BATCH, CONTEXT, RATE = 4, 40, 8, 48, 1e-2


def write_adapter(base: Path, folder: Path, text: str, rank: int = RANK, **more: Any) -> Path:
    """Writes an adapter in PEFT's format. `more` are fields of PEFT's `LoraConfig`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = {"target_modules": ["q_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM"} | more
    ids = AutoTokenizer.from_pretrained(base)(text * 50)["input_ids"]
    windows = torch.tensor(ids).unfold(0, CONTEXT, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loaded = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = get_peft_model(loaded, LoraConfig(r=rank, lora_alpha=2 * rank, **config))
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for step in range(STEPS):
            batch = windows[torch.randint(len(windows), (BATCH,))]
            model(input_ids=batch, labels=batch, use_cache=False).loss.backward()
            with torch.no_grad():
                for parameter in trained:
                    parameter -= RATE * (1 - step / STEPS) * parameter.grad.sign()
                    parameter.grad = None
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    return folder


def write_two(base: Path, folder: Path) -> dict[str, Path]:
    """By name, `red` and `blue`, of different ranks."""
    return {
        "red": write_adapter(base, folder / "red", RED),
        "blue": write_adapter(base, folder / "blue", BLUE, rank=8),
    }
