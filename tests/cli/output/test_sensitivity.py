from __future__ import annotations

from quantbento.cli.output.sensitivity import print_sensitivity
from quantbento.making.sensitivity.rows import LayerCost, Sensitivity, place


def layer(name: str, order: int, sqnr: float | None, error: str | None = None) -> LayerCost:
    drop = None if sqnr is None else 1 / sqnr
    return LayerCost(name, name, order, *place(name), 1000, sqnr, {}, drop, None, error)


def test_names_with_brackets_are_shown_and_darker_is_worse(capsys):
    found = Sensitivity("llama", "w4", "rtn", "perplexity", "transformers", "by rounding", 8)
    found.layers = [
        layer("layers.0.[qkv]_proj", 0, 20.0),
        layer("layers.1.[qkv]_proj", 1, 40.0),
        layer("layers.1.sum", 2, None, "no kernel [x]"),
    ]
    found.attention = [{"layer": "0", "similarity": 0.5}, {"layer": "1", "similarity": 1.0}]
    print_sensitivity(found)
    out = capsys.readouterr().out
    assert "layers.0.[qkv]_proj" in out
    assert "20 ██" in out
    assert "attention: mean cosine 0.7500 of 2 layers; the lowest is 0.5000 in layer 0" in out
    assert "not measured: layers.1.sum: no kernel [x]" in out
    assert "measured: by rounding; 8 samples" in out


def test_layers_without_blocks_have_no_heat_map(capsys):
    found = Sensitivity("moons", "int8", "torch-dynamic", "accuracy", "torch", "alone", 8, layers=[layer("a", 0, 30.0)])
    print_sensitivity(found)
    assert "darker" not in capsys.readouterr().out
