"""What the quantizers for OpenVINO share: the graph they start from, what they leave, what they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.quantizers.base import Quantizer, QuantizerOptions, exactly, select
from quantbento.quantizers.onnx.candidates import MOST_LISTED, listed, refuse_quantized
from quantbento.quantizers.openvino import graph
from quantbento.quantizers.openvino.graph import QuantizedOperator
from quantbento.runtimes.openvino import MODEL, engine, read_onnx, save

if TYPE_CHECKING:
    import openvino as ov


class OperatorOptions(QuantizerOptions):
    """Which operators stay in full precision."""

    exclude_nodes: list[str] = Field([], description="fnmatch patterns of operators' names")
    exclude_ops: list[str] = Field([], description="fnmatch patterns of operators' types, as OpenVINO calls them")


class OpenVinoQuantizer(Quantizer):
    """Writes a graph of OpenVINO, with NNCF."""

    runtimes = ("openvino",)
    starts_from = ("module", "onnx")
    modules = ("openvino", "nncf", "onnx", "onnxscript")
    distributions = ("openvino", "nncf", "onnx", "onnxscript", "onnx-ir")
    extra = "quantize"
    keeps = "exclude_nodes"


@dataclass
class Source:
    """A graph to quantize.

    Attributes:
        model: the graph. NNCF may change it.
        operators: type of each operator by its name.
        parameters: how many float weights it has.
        integers: names of the constants that are small integers already, and are not weights.
    """

    model: ov.Model
    operators: dict[str, str]
    parameters: int
    integers: set[str]

    @classmethod
    def of(cls, job: Job) -> Self:
        """The job's model.

        Raises:
            QuantbentoError: it cannot be exported, OpenVINO cannot read it, or it is quantized already.
        """
        import onnx

        path = job.onnx()
        refuse_quantized(onnx.load(path, load_external_data=False).graph)
        model = read_onnx(path)
        return cls(model, graph.operators(model), graph.parameters(model), graph.integers(model))

    def left(self, options: OperatorOptions) -> list[str]:
        """Names of the operators that the options leave in full precision.

        Raises:
            QuantbentoError: a pattern matches nothing.
        """
        by_name = set(select(self.operators, ["*"], options.exclude_nodes, "operator"))
        types = dict.fromkeys(self.operators.values())
        by_type = set(select(types, ["*"], options.exclude_ops, "operator type"))
        return [name for name, kind in self.operators.items() if name not in by_name or kind not in by_type]

    def write(self, quantizer: str, quantized: ov.Model, left: list[str], folder: Path) -> list[QuantizedOperator]:
        """Writes a quantized graph into an artifact folder. Returns what is quantized in the file.

        Raises:
            QuantbentoError: nothing is.
        """
        save(quantized, folder)
        found = graph.quantized(engine().Core().read_model(folder / MODEL), self.integers)
        if not found:
            has = listed(dict(Counter(self.operators.values()).most_common()), MOST_LISTED)
            which = "it leaves none that NNCF quantizes" if not left else "exclude_nodes and exclude_ops leave none"
            raise QuantbentoError(f"{quantizer} would quantize nothing: {which} (the graph has {has})")
        return found

    def layers(self, found: list[QuantizedOperator], others: Iterable[str] = ()) -> dict[str, int]:
        """The quantized operators, and others whose inputs are rounded, by the pattern that names each, with the number
        of their weights."""
        sizes = {o.name: sum(number for _, number in o.weights.values()) for o in found}
        wanted = {*sizes, *others}
        names = [name for name in self.operators if name in wanted]
        return {pattern: sizes.get(name, 0) for pattern, name in zip(exactly(names), names, strict=True)}


def counts(operators: list[QuantizedOperator]) -> dict[str, int]:
    """How many there are of each type."""
    return dict(Counter(found.kind for found in operators))
