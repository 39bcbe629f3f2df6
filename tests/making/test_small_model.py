"""Two layers of the same architecture, as wide as the original where that is small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.modules import read_folder
from quantbento.making import small_model
from tests.tiny_llama import write_tiny_llama

TINY = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100}


def made(tmp_path: Path, config: str, auto_class: str, **values: object) -> tuple[dict, bool]:
    """The configuration of the small model, and whether it is as wide as the original."""
    import transformers

    source = tmp_path / "source"
    getattr(transformers, config)(**values).save_pretrained(source)
    as_wide = small_model.write(source, auto_class, tmp_path / "small", on_disk=False)
    read_folder(tmp_path / "small", auto_class, False)  # no weight is missing
    return json.loads((tmp_path / "small" / "config.json").read_text()), as_wide


@pytest.mark.parametrize(
    ("config", "auto_class", "values", "found"),
    [
        ("BertConfig", "AutoModel", TINY | {"num_hidden_layers": 12}, {"num_hidden_layers": 2, **TINY}),
        ("BertConfig", "AutoModel", TINY | {"num_hidden_layers": 1}, {"num_hidden_layers": 1}),
        (
            "GPT2Config",
            "AutoModelForCausalLM",
            {"n_layer": 5, "n_embd": 32, "n_head": 2, "vocab_size": 50},
            {"n_layer": 2},
        ),
        (
            "Gemma3TextConfig",  # five layers of the one type, then one of the other
            "AutoModelForCausalLM",
            TINY | {"num_hidden_layers": 12, "num_key_value_heads": 2, "head_dim": 16},
            {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]},
        ),
        (
            "ResNetConfig",
            "AutoModelForImageClassification",
            {"depths": [3, 1, 4], "hidden_sizes": [8, 8, 8], "embedding_size": 8, "layer_type": "basic"},
            {"depths": [2, 1, 2]},
        ),
    ],
    ids=["bert", "short-already", "other-names", "types-of-layers", "stages"],
)
def test_it_has_two_layers_and_the_widths_of_the_original(tmp_path, config, auto_class, values, found):
    small, as_wide = made(tmp_path, config, auto_class, **values)
    assert {name: small[name] for name in found} == found
    assert as_wide


@pytest.mark.parametrize(
    ("config", "values", "found"),
    [
        (
            "LlamaConfig",
            {"hidden_size": 1024, "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 1000},
            {"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 128},
        ),
        (
            "Gemma2Config",
            {
                "hidden_size": 1152,  # half of it is no multiple of 128
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "head_dim": 32,
                "intermediate_size": 1152,
            },
            {"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 256},
        ),
        (
            "MixtralConfig",
            {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 1, "intermediate_size": 512},
            {"hidden_size": 256, "num_local_experts": 2, "intermediate_size": 512},
        ),
    ],
    ids=["heads", "widths-of-its-own", "experts"],
)
def test_a_large_one_is_made_narrower(tmp_path, monkeypatch, config, values, found):
    monkeypatch.setattr(small_model, "MOST_PARAMETERS", 1_000_000)
    small, as_wide = made(tmp_path, config, "AutoModelForCausalLM", vocab_size=200, num_hidden_layers=4, **values)
    assert {name: small[name] for name in found} == found
    assert not as_wide


def test_what_lies_beside_the_weights_goes_along_and_the_dtype_stays(tmp_path):
    source = write_tiny_llama(tmp_path / "source")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text("{}")
    (source / ".git").mkdir()
    (source / ".git" / "state.json").write_text("{}")
    (source / "model.safetensors.index.json").write_text("{}")
    (source / "model.safetensors").unlink()
    small_model.write(source, "AutoModelForCausalLM", tmp_path / "small", on_disk=True)
    names = {path.relative_to(tmp_path / "small").as_posix() for path in (tmp_path / "small").rglob("*.*")}
    assert {"tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json", "model.safetensors"} <= names
    assert not names & {".git/state.json", "model.safetensors.index.json"}
    module = read_folder(tmp_path / "small", "AutoModelForCausalLM", False, "auto")
    assert {str(p.dtype) for p in module.parameters()} == {"torch.bfloat16"}


def test_a_configuration_that_makes_no_model_is_told(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(QuantbentoError, match=r"no small model could be made from the configuration in .*source"):
        small_model.write(tmp_path / "source", "AutoModel", tmp_path / "small", on_disk=False)
