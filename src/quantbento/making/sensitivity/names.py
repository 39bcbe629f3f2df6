"""What layers are called: by patterns of a quantizer's options, as nodes of a graph, as PyTorch modules."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from quantbento.inputs.job import Job

SCOPES = "pkg.torch.onnx.name_scopes"  # torch.onnx notes the modules that a node comes from
WRAPPER = "model"  # what the exported module is called inside `quantbento.inputs.onnx_export`


class Names:
    """The names of a job's modules and nodes.

    Args:
        job: a model; its graph is only read where it was exported already.
    """

    def __init__(self, job: Job) -> None:
        self.modules = [name for name, _ in _modules(job.source.module)]
        self.nodes = _scopes(job) if job.graph is not None else {}

    def of(self, pattern: str) -> list[str]:
        """The modules behind a layer's pattern; empty where they are not known."""
        found = [name for name in self.modules if fnmatchcase(name, pattern)]
        return found or [self.nodes[node] for node in _exported_as(plain(pattern)) if node in self.nodes][:1]

    def readable(self, pattern: str) -> str:
        """What people call a layer: its module, or else what the quantizer calls it."""
        found = self.of(pattern)
        return found[0] if len(found) == 1 else plain(pattern) if not found else pattern


def plain(pattern: str) -> str:
    """The name that a pattern of `quantbento.quantizers.base.exactly` matches.

    >>> plain("a[[]0]")
    'a[0]'
    """
    for special in "*?[":
        pattern = pattern.replace(f"[{special}]", special)
    return pattern


def _exported_as(name: str) -> Iterable[str]:
    """The names that a node may have had in the exported file: quantizers take a Gemm apart, and OpenVINO a bias."""
    yield name
    yield name.removesuffix("_MatMul")
    yield name.partition("/")[0]


def _modules(module: Any) -> Iterable[tuple[str, Any]]:
    return module.named_modules() if module is not None else ()


def _scopes(job: Job) -> dict[str, str]:
    """The module that each node of the job's graph comes from, by the node's name."""
    import onnx

    assert job.graph is not None
    found = {}
    for node in onnx.load(job.graph.path, load_external_data=False).graph.node:
        noted = next((p.value for p in node.metadata_props if p.key == SCOPES), None)
        scopes = ast.literal_eval(noted) if noted else []
        if len(scopes) > 1:  # the last one is the operator itself
            found[node.name] = str(scopes[-2]).removeprefix(WRAPPER).removeprefix(".")
    return {node: module for node, module in found.items() if module}
