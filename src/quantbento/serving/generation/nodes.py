"""Several machines that share one model, by vLLM's own multi-node start: the settings of one of them.

Every machine has the same engine settings, the number of machines (`--nnodes`), its place among them (`--node-rank`)
and the address of the first (`--master-addr`). The first one answers requests; the others run without a server
(`--headless`), see `quantbento.serving.generation.vllm_worker`. The model's layers are split over the machines
(`--pipeline-parallel-size`), and each layer over one machine's GPUs (`--tensor-parallel-size`), as vLLM's guide to
parallelism advises: between layers, little has to cross the network. Names are those of vLLM's `ParallelConfig`
(`vllm/config/parallel.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from quantbento.runtimes.vllm_settings import EngineSettings


class NodeSettings(EngineSettings):
    """An engine's settings on one of several machines; with one machine they are `EngineSettings`."""

    nodes: int = Field(1, ge=1, le=64, description="machines that share a model on vLLM; each has its share of layers")
    node_rank: int = Field(0, ge=0, description="which of them this is; 0 answers requests")
    leader: str | None = Field(None, description="host name or address of the first of them, which others connect to")

    @model_validator(mode="after")
    def _a_place_among_them(self) -> NodeSettings:
        if self.nodes > 1 and self.leader is None:
            raise ValueError(f"nodes={self.nodes} needs leader, the address of the first machine")
        if self.nodes == 1 and self.leader is not None:
            raise ValueError(f"leader={self.leader!r} has no effect with one machine; set nodes, or leave it out")
        if self.node_rank >= self.nodes:
            raise ValueError(
                f"node_rank must be from 0 to {self.nodes - 1} with nodes={self.nodes}, not {self.node_rank}"
            )
        return self

    def arguments(self, artifact: Path | None = None, on_cpu: bool | None = None) -> dict[str, Any]:
        given = super().arguments(artifact, on_cpu)
        if self.nodes == 1:
            return given
        return given | {
            "pipeline_parallel_size": self.nodes,
            "distributed_executor_backend": "mp",  # otherwise vLLM looks for a Ray cluster
            "nnodes": self.nodes,
            "node_rank": self.node_rank,
            "master_addr": self.leader,
        }
