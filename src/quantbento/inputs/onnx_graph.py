"""A user's ONNX graph in the form that quantizers expect.

Exporters keep weights in `Constant` nodes, or behind a `Cast` or `Transpose`, and write old opsets, chains of
`Identity` and weights that nothing reads. onnx's version converter raises the opset, and onnxscript's optimizer does
the rest: constants become initializers, functions are inlined, what is constant is computed, what is unused goes,
shapes are inferred. docs/benchmarks.md compares them with the alternatives.

The steps are tried from the most to the least. Whether the result computes the same is seen where there are samples
(`quantbento.judging.canonical`); if it does not, the next step is tried.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from quantbento.core.errors import summary
from quantbento.inputs.onnx_export import LARGEST_IN_ONE_FILE, quiet
from quantbento.runtimes.onnx import MODEL

if TYPE_CHECKING:
    import onnx_ir

OPSET = 18  # the oldest that onnxscript's optimizer knows, and that quantizers need
IR_VERSION = 8  # that of the opset; before 4, every weight had to be an input, too
# From the most to the least, with what a report calls them. The last is the user's own file.
STEPS = {
    "canonical": "the graph in canonical form",
    "constants": "the graph with its constants as weights",
    "untouched": "the graph as it came",
}


@dataclass(frozen=True)
class CanonicalGraph:
    """A graph to quantize.

    Attributes:
        path: the file; the user's own for the last step.
        step: how much was done to it, one of `STEPS`.
        change: what that changed, in words.
        notes: what could not be done, and why.
    """

    path: Path
    step: str
    change: str = ""
    notes: list[str] = field(default_factory=list)


def canonical(source: Path, folder: Path, after: str = "") -> CanonicalGraph:
    """Writes the graph in canonical form.

    Args:
        source: the ONNX file, which is not changed.
        folder: where to write; created if missing.
        after: a step that was not good enough; those after it are tried.
    """
    steps, notes = list(STEPS), list[str]()
    for step in steps[steps.index(after) + 1 if after else 0 : -1]:
        path = folder / step / MODEL
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with quiet(), _without_logs():
                change = _rewrite(source, step, path)
        except Exception as error:  # of many kinds: onnx's, onnxscript's and protobuf's share no base class
            notes.append(f"{STEPS[step]} could not be made: {summary(error)}")
            continue
        return CanonicalGraph(path, step, change, notes)
    return CanonicalGraph(source, "untouched", notes=notes)


def _rewrite(source: Path, step: str, path: Path) -> str:
    """Writes the graph after a step, and says what changed."""
    import onnx_ir as ir
    from onnx_ir.passes import common
    from onnxscript.optimizer import optimize_ir

    model = ir.load(source)
    if "ai.onnx" in model.opset_imports:  # another name of the same domain
        model.opset_imports[""] = model.opset_imports.pop("ai.onnx")
    opset, nodes = model.opset_imports.get(""), _count(model)
    common.InlinePass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveInitializersFromInputsPass()(model)
    if step == "canonical":
        _raise_opset(model)
        optimize_ir(model, should_fold=_holds_a_weight)
    common.RemoveUnusedNodesPass()(model)
    model.ir_version = max(model.ir_version, IR_VERSION)
    size = sum(i.const_value.nbytes for g in model.graphs() for i in g.initializers.values() if i.const_value)
    if size > LARGEST_IN_ONE_FILE:
        ir.save(model, path, external_data=f"{MODEL}.data")
    else:
        ir.save(ir.external_data.load_to_model(model), path)  # else they stay in the files beside the source
    return f"opset {opset} to {model.opset_imports.get('')}, {nodes} operators to {_count(model)}"


def _count(model: onnx_ir.Model) -> int:
    return sum(1 for _ in model.graph.all_nodes())


def _raise_opset(model: onnx_ir.Model) -> None:
    from onnxscript.version_converter import ConvertVersionPass

    before = model.opset_imports.get("")
    if before is None or before >= OPSET:
        return
    ConvertVersionPass(OPSET, fallback=True)(model)  # onnx's own converter below opset 18
    if model.opset_imports.get("") != OPSET:
        raise ValueError(f"its opset {before} cannot be raised to {OPSET}")


def _holds_a_weight(node: onnx_ir.Node) -> bool | None:
    """Computes a weight's Cast or Transpose now, however large; of other nodes the optimizer decides."""
    if node.domain == "" and node.op_type in ("Cast", "Transpose"):
        users = [use.node.op_type for output in node.outputs for use in output.uses()]
        if any(user in ("MatMul", "Gemm", "Gather", "Cast", "Transpose") for user in users):
            return True
    return None


@contextmanager
def _without_logs() -> Iterator[None]:
    """The converter warns about steps that are tried again in another way."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)
