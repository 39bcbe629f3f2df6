"""A dry run says what a run would do."""

from __future__ import annotations

from quantbento.cli.output.plan import print_plan
from quantbento.making.resolve import resolve
from quantbento.recipe import read_recipe


def test_the_plan_tells_what_a_run_would_do(capsys):
    recipe = {
        "schema_version": 1,
        "name": "demo",
        "task": "tensor",
        "model": {"factory": "somewhere:model"},
        "evaluation": {"factory": "somewhere:samples", "count": 10},
        "gates": {"min": {"accuracy": 0.9}},
        "variants": [
            {"name": "a", "quantizer": "onnx-dynamic", "gates": {"min": {"accuracy": 0.5}, "min_speedup": 2}},
            {"name": "b", "quantizer": "torch-dynamic", "options": {"exclude": ["head*"]}},
        ],
    }
    resolved, _ = resolve(read_recipe(recipe))
    print_plan(resolved, ["needs 2 GB of memory"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "recipe   demo: tensor",
        "model    factory somewhere:model",
        "samples  factory somewhere:samples, count 10",
        "measure  items 64, rounds 15, max_seconds 60.0, latency_calls 100, device auto, compile False, memory True, "
        "paired True",
        "variant  a: onnx-dynamic (int8-dynamic), served by onnx",
        "options defaults; gates min {'accuracy': 0.5}, min_speedup 2.0",
        "stored as demo-a",
        "variant  b: torch-dynamic (int8-dynamic), served by torch",
        "options exclude ['head*']; gates min {'accuracy': 0.9}",
        "stored as demo-b",
        "note     needs 2 GB of memory",
    ]
