"""What the quantizers of ONNX graphs share: the graph they start from, the nodes that a recipe asks for, the file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field

from quantbento.core.errors import QuantbentoError
from quantbento.inputs.job import Job
from quantbento.inputs.onnx_export import LARGEST_IN_ONE_FILE
from quantbento.quantizers.base import Quantizer, QuantizerOptions, exactly, select
from quantbento.quantizers.onnx.candidates import Candidates, find, nothing, parameters, refuse_quantized, weight_counts
from quantbento.quantizers.onnx.loading import session
from quantbento.quantizers.onnx.prepare import prepared
from quantbento.runtimes.onnx import MODEL, without_external_data

if TYPE_CHECKING:
    import onnx


class NodeOptions(QuantizerOptions):
    """Which nodes are quantized."""

    include_ops: list[str] | None = Field(None, description="operator types; by default those that gain from it")
    exclude_ops: list[str] = []
    include_nodes: list[str] = Field(["*"], description="fnmatch patterns of node names")
    exclude_nodes: list[str] = []

    def chosen_ops(self, default: Collection[str]) -> list[str]:
        """Operator types to quantize. Gemm counts as MatMul, because it is quantized as one."""
        given = ["MatMul" if op == "Gemm" else op for op in self.include_ops or default]
        return [op for op in dict.fromkeys(given) if op not in self.exclude_ops]


class OnnxQuantizer(Quantizer):
    """Writes an ONNX graph for ONNX Runtime."""

    runtimes = ("onnx",)
    starts_from = ("module", "onnx")
    modules = ("onnx", "onnxruntime", "onnxscript")
    distributions = ("onnx", "onnxruntime", "onnxscript", "onnx-ir")
    extra = "quantize"
    keeps = "exclude_nodes"


@dataclass
class Graph:
    """A graph to quantize.

    Attributes:
        model: the graph in the shape that quantization expects (`prepare.py`), with its weights.
        parameters: how many float weights it has.
        large: whether its weights are too many for one file.
        initializers: names of the weights that it came with.
        notes: what could not be done to bring it into canonical form.
    """

    model: onnx.ModelProto
    parameters: int
    large: bool
    initializers: set[str]
    notes: list[str]

    @classmethod
    def of(cls, job: Job) -> Self:
        """The job's model.

        Raises:
            QuantbentoError: it cannot be exported, or is quantized already.
        """
        import onnx

        canonical = job.canonical_onnx()
        model, files = without_external_data(canonical.path)
        onnx.load_external_data_for_model(model, str(canonical.path.parent))
        refuse_quantized(model.graph)
        size = sum(file.stat().st_size for file in (canonical.path, *files))
        names = {i.name for i in model.graph.initializer}
        count = parameters(model.graph)
        return cls(prepared(model), count, size > LARGEST_IN_ONE_FILE, names, canonical.notes)

    def choose(self, quantizer: str, ops: Collection[str], options: NodeOptions) -> tuple[list[str], Candidates]:
        """The names of the nodes of the types `ops` with constant weights that the patterns leave, and what there was
        to choose from.

        Raises:
            QuantbentoError: there is none.
        """
        found = find(self.model.graph, ops)
        if not found.names:
            raise nothing(quantizer, self.model.graph, ops, found)
        nodes = select(found.names, options.include_nodes, options.exclude_nodes, "node")
        if not nodes:  # ONNX Runtime would read an empty list as all nodes
            raise QuantbentoError(
                f"{quantizer} would quantize nothing: the patterns leave none of the {len(found.names)} nodes"
            )
        return nodes, found

    def layers(self, quantizer: str, ops: Collection[str], options: NodeOptions) -> dict[str, int]:
        """The nodes of `choose`, by the pattern that names each, with the number of their weights."""
        nodes, _ = self.choose(quantizer, ops, options)
        counts = weight_counts(self.model.graph)
        return {pattern: counts[node] for pattern, node in zip(exactly(nodes), nodes, strict=True)}

    def fuse(self, folder: Path) -> Path:
        """Writes the graph into a folder, with batch normalisation in the convolutions and what else ONNX Runtime fuses
        into standard operators, and goes on with that."""
        import onnx

        path = folder / MODEL
        session(self.model, path, basic=True)
        self.model = onnx.load(path)
        self.initializers = {i.name for i in self.model.graph.initializer}
        return path

    def save(self, folder: Path) -> None:
        """Writes the graph into an artifact folder."""
        import onnx

        onnx.save(self.model, folder / MODEL, save_as_external_data=self.large, location=f"{MODEL}.data")
