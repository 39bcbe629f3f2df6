"""Tiny models as users bring them, in folders and files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import tiny_bert, write_tokenizer
from tests.jobs import onnx_file


def write_head(folder: Path, architecture: str, **config: Any) -> Path:
    """A BERT with random weights and one of Transformers' heads, with its tokenizer."""
    import torch
    import transformers

    folder.mkdir()
    vocabulary = write_tokenizer(folder)
    torch.manual_seed(0)
    bert = transformers.BertConfig(**tiny_bert(vocabulary), **config)
    getattr(transformers, architecture)(bert).save_pretrained(folder)
    return folder


def write_vision(folder: Path, architecture: str, **config: Any) -> Path:
    """A vision transformer with random weights, and the file that says how images are prepared for it."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    vit = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, **config)
    getattr(transformers, architecture)(vit).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        **dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), True),
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def write_adapter(folder: Path, base: Path, task_type: str | None) -> Path:
    """A LoRA adapter for a BERT, trained by nobody."""
    import peft
    from transformers import AutoModel, AutoModelForSequenceClassification

    auto_class = AutoModelForSequenceClassification if task_type == "SEQ_CLS" else AutoModel
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], task_type=task_type)
    peft.get_peft_model(auto_class.from_pretrained(base), config).save_pretrained(folder)
    return folder


def without_tokenizer(folder: Path, model: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(model / name, folder / name)
    return folder


def quantized_already(folder: Path, model: Path) -> Path:
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_onnx(path: Path) -> Path:
    """A graph that takes an image and gives four numbers."""
    weights = np.random.default_rng(1).normal(size=(27, 4)).astype(np.float32)
    shape = np.asarray([0, 27], np.int64)
    nodes = [("Reshape", ["image", "shape"], ["flat"]), ("MatMul", ["flat", "w"], ["scores"])]
    onnx_file(path, nodes, {"image": ["batch", 3, 3, 3]}, {"scores": ["batch", 4]}, {"w": weights, "shape": shape})
    return path


def write_text_onnx(path: Path) -> Path:
    """A graph that takes text."""
    import onnx
    from onnx import TensorProto, helper

    text = [helper.make_tensor_value_info(name, TensorProto.STRING, ["batch"]) for name in ("text", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["text"], ["same"])], "graph", text[:1], text[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def write_quantized_onnx(path: Path) -> Path:
    weights = np.ones((4, 2), np.int8)
    nodes = [("Cast", ["x"], ["whole"]), ("MatMulInteger", ["whole", "w"], ["sums"]), ("Cast", ["sums"], ["y"])]
    onnx_file(path, nodes, {"x": ["batch", 4]}, {"y": ["batch", 2]}, {"w": weights})
    import onnx

    model = onnx.load(path)
    for node, kind in zip([n for n in model.graph.node if n.op_type == "Cast"], (3, 1), strict=True):
        node.attribute.append(onnx.helper.make_attribute("to", kind))
    onnx.save(model, path)
    return path


def write_text(path: Path) -> Path:
    path.write_text("not a graph")
    return path


def write_pickle(path: Path) -> Path:
    import torch

    torch.save({"weight": torch.zeros(2, 2)}, path)
    return path


def without_base(adapter: Path) -> Path:
    """The adapter as it is on another machine than the one it was trained on."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/gone"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    return adapter


def network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 8)).eval()


def two_inputs() -> Any:
    """A module whose inputs nothing tells."""
    import torch
    from torch import nn

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, left: Any, right: Any) -> Any:
            return self.linear(torch.cat([left, right], 1))

    return Two()


def write_torchscript(path: Path) -> Path:
    import torch

    torch.jit.script(network()).save(path)
    return path


def write_exported(path: Path) -> Path:
    import torch

    batch = torch.export.Dim.DYNAMIC
    shapes = ({0: batch},)
    torch.export.save(torch.export.export(network(), (torch.zeros(2, 1, 28, 28),), dynamic_shapes=shapes), path)
    return path
